"""The engine in a Firefox without WebGPU, as Firefox on Linux and Android is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser.firefox import open_firefox
from tests.support.browser.model_page import ISOLATED, ModelPage, Site, serve_site
from tests.support.engine import needs_engine
from tests.support.tiny import TinyLlama

pytestmark = needs_engine


@pytest.fixture(scope="module")
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve_site(tmp_path_factory.mktemp("isolated"), ISOLATED) as running:
        yield running


@pytest.fixture(scope="module")
def page(firefox: Path, isolated: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelPage]:
    with open_firefox(firefox, None, isolated, tmp_path_factory.mktemp("firefox")) as raw:
        yield ModelPage(raw)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_answers_without_webgpu(page: ModelPage, isolated: Site, threads: int) -> None:
    bundle = isolated.bundle("cpu", TinyLlama(), "q4f32_1", tiers=("base", "wasm"), prefill_chunk=64)
    info = page.load(bundle, threads=threads)
    assert (info["tier"], info["threads"]) == ("wasm", threads)
    report = page.validate(bundle, "wasm", threads=threads)
    assert report["ok"] and report["activation"] == "int8", report
