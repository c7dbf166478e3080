"""Pages in the browsers of tests/conftest.py, and a site for what they load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Page as RawPage
from playwright.sync_api import expect

from mlcweb.browser.adapter import open_blank
from mlcweb.browser.page import open_page
from mlcweb.browser.session import Session, open_session
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.model_page import Site, serve_site
from tests.support.engine import ENGINE

# A guard against hangs: an answer of the software adapter takes seconds when tests run side by side.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A folder of a module's own that is served, with the engine and the bundles that its tests ask for."""
    with serve_site(tmp_path_factory.mktemp("site")) as running:
        yield running


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
def host(bundle: Path) -> Iterator[EngineServer]:
    """A server of the module's ``bundle`` on another origin than the harness's, which lets every page read it."""
    with EngineServer(ENGINE, bundle) as running:
        running.origins = "*"
        yield running


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
