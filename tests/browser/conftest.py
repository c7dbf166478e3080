"""Browsers for tests: the machine's Chromium, one with shader-f16, and pages in them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Page as RawPage

from mlcweb.browser.adapter import open_blank
from mlcweb.browser.find import find_chromium
from mlcweb.browser.page import open_page
from mlcweb.browser.session import Session, open_session
from tests.browser.model_page import Site, serve_site

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The Chrome or Chromium of this machine; `make setup` sees that there is one."""
    return find_chromium()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A folder of a module's own that is served, with the engine and the bundles that its tests ask for."""
    with serve_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="session")
def f16_chromium() -> Path:
    """A Chromium with shader-f16: $MLCWEB_F16_CHROMIUM, or the one we make on Debian as root."""
    named = os.environ.get("MLCWEB_F16_CHROMIUM")
    return Path(named) if named else _printed_by("f16-chromium.sh")


@pytest.fixture(scope="session")
def firefox() -> Path:
    """A Firefox: $MLCWEB_FIREFOX, the one on PATH, or the one we install on Debian as root."""
    return _printed_by("firefox.sh")


def _printed_by(script: str) -> Path:
    """The program that a script finds or makes; skips where it cannot."""
    done = subprocess.run(
        [ROOT / "scripts" / script], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"{script}: {last}")
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def gpu_page(chromium: Path) -> Iterator[RawPage]:
    """A blank playwright page with WebGPU, shared by all tests that run kernels of their own."""
    with open_page(chromium, hold_signals=False) as page:
        open_blank(page)
        yield page.raw


@pytest.fixture(scope="session")
def f16_gpu_page(f16_chromium: Path) -> Iterator[RawPage]:
    """The same where the adapter has shader-f16."""
    with open_page(f16_chromium, hold_signals=False) as page:
        open_blank(page)
        yield page.raw


@pytest.fixture
def kernel_page(request: pytest.FixtureRequest, browser: str) -> RawPage:
    """The page of the test's parameter ``browser``: stock (SwiftShader's subgroups of 4, where there is no GPU) or
    f16 (lavapipe's of 8).
    """
    page: RawPage = request.getfixturevalue({"stock": "gpu_page", "f16": "f16_gpu_page"}[browser])
    return page


@pytest.fixture
def serve_and_open(chromium: Path) -> Callable[..., AbstractContextManager[Session]]:
    """``with serve_and_open(bundle) as session``: the bundle served and the harness page open on it."""

    def opened(bundle: Path, browser: Path | None = None) -> AbstractContextManager[Session]:
        return open_session(bundle, browser or chromium)

    return opened
