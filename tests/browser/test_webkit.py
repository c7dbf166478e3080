"""The engine in WebKitGTK, Safari's engine on Linux, which has no WebGPU: it computes on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.browser.model_page import ISOLATED, ModelPage, Site, serve_site
from tests.support.browser.webkit import has_webkit, open_webkit
from tests.support.engine import needs_engine
from tests.support.tiny import TinyLlama

pytestmark = [
    needs_engine,
    pytest.mark.skipif(not has_webkit(), reason="needs Debian's webkit2gtk-driver and xvfb"),
]


@pytest.fixture(scope="module")
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve_site(tmp_path_factory.mktemp("isolated"), ISOLATED) as running:
        yield running


@pytest.fixture(scope="module")
def page(isolated: Site) -> Iterator[ModelPage]:
    with open_webkit(isolated) as raw:
        yield ModelPage(raw)


def test_it_answers_without_webgpu(page: ModelPage, isolated: Site) -> None:
    assert page.raw.evaluate("() => navigator.gpu === undefined")
    bundle = isolated.bundle("cpu", TinyLlama(), "q4f32_1", tiers=("base", "wasm"), prefill_chunk=64)
    info = page.load(bundle, threads=2)
    assert (info["tier"], info["threads"]) == ("wasm", 1)  # it has no SharedArrayBuffer, isolated or not
    report = page.validate(bundle, "wasm")
    assert report["ok"] and report["activation"] == "int8", report
    answer = page.right("chat", [{"role": "user", "content": "hello"}], {"temperature": 0, "max_tokens": 8})
    again = page.right("chat", [{"role": "user", "content": "hello"}], {"temperature": 0, "max_tokens": 8})
    assert again["text"] == answer["text"] and again["usage"]["extra"]["cached_prompt_tokens"] > 0
