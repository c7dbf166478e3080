"""How weights come and are kept in a real browser: by workers or without, by several tabs at once, in little memory,
and where the storage is full, emptied, private or damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page as RawPage

from mlcweb.browser.page import open_page
from mlcweb.serve import serving
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import Mini
from tests.support.engine import ENGINE, needs_engine

pytestmark = needs_engine

MIB = 2**20
CHUNKS, CHUNK = 12, 24 * MIB


def big_bundle(folder: Path) -> Path:
    """A bundle of 288 MiB of weights, which nothing computes with: every chunk is the same file."""
    Mini().write(folder)
    manifest = json.loads((folder / "mlcweb.json").read_text())
    for name in manifest["weights"]["chunks"]:
        del manifest["files"][name]
        (folder / name).unlink()
    data = np.random.default_rng(1).bytes(CHUNK)
    sha256 = hashlib.sha256(data).hexdigest()
    names = [f"weights-{i:03}.{sha256[:8]}.bin" for i in range(CHUNKS)]
    (folder / names[0]).write_bytes(data)
    for name in names[1:]:
        (folder / name).hardlink_to(folder / names[0])
    manifest["files"] |= {name: {"bytes": CHUNK, "sha256": sha256} for name in names}
    elements = CHUNKS * CHUNK // 4
    tensor = {"name": "all", "dtype": "float32", "shape": [elements], "offset": 0, "bytes": elements * 4}
    manifest["weights"] = {"chunks": names, "bytes": elements * 4, "tensors": [tensor]}
    manifest["memory"]["weights"] = elements * 4
    (folder / "mlcweb.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return big_bundle(tmp_path_factory.mktemp("big"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    with EngineServer(ENGINE, Mini().write(tmp_path_factory.mktemp("mini"))) as running:
        yield running


@pytest.fixture(scope="module")
def browser_page(chromium: Path, server: EngineServer) -> Iterator[RawPage]:
    with open_page(chromium, hold_signals=False) as page:
        page.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
        yield page.raw


@pytest.fixture
def page(browser_page: RawPage, server: EngineServer) -> Iterator[RawPage]:
    server.hits.clear()
    server.delay = 0.0
    yield browser_page
    browser_page.evaluate("() => window.mlcweb.deleteFromCache('./bundle/')")


def bring(page: RawPage, **options: Any) -> Any:
    result = page.evaluate("options => window.mlcweb.bring('./bundle/', options)", {"sum": True, **options})
    assert "error" not in result, result
    return result


def codes(result: Any) -> list[str]:
    return [warning["code"] for warning in result["warnings"]]


def chunks_asked(server: EngineServer) -> list[int]:
    return [count for name, count in server.hits.items() if name.startswith("weights-")]


KEPT = """async () => {
  const root = await navigator.storage.getDirectory(), names = [];
  for await (const folder of (await root.getDirectoryHandle("mlcweb-v1")).values())
    for await (const name of folder.keys()) names.push(name);
  const keys = await (await caches.open("mlcweb-v1")).keys();
  return { files: names.length, cached: keys.filter(({ url }) => url.includes("weights-")).length };
}"""


@pytest.mark.parametrize("verify", ["always", "first"])
def test_a_second_visit_reads_files(page: RawPage, server: EngineServer, verify: str) -> None:
    first = bring(page, verify=verify)
    assert first["carriers"] == 3 and first["warnings"] == [] and max(chunks_asked(server)) == 1
    kept = page.evaluate(KEPT)
    assert kept == {"files": len(chunks_asked(server)), "cached": 0}
    server.hits.clear()
    again = bring(page, verify=verify)
    assert again["sum"] == first["sum"] and again["warnings"] == [] and chunks_asked(server) == []


def test_what_an_earlier_version_kept_becomes_files(page: RawPage, server: EngineServer) -> None:
    worker = page.evaluate("() => { const kept = Worker; delete window.Worker; window.kept = kept; }")
    assert worker is None
    first = bring(page)
    assert first["carriers"] == 0
    assert page.evaluate("() => caches.has('mlcweb-v1')")
    page.evaluate("() => { window.Worker = window.kept; }")
    server.hits.clear()
    again = bring(page)
    assert again["carriers"] == 3 and again["sum"] == first["sum"] and chunks_asked(server) == []
    assert page.evaluate(KEPT)["cached"] == 0


def test_two_tabs_download_once(page: RawPage, server: EngineServer) -> None:
    other = page.context.new_page()
    try:
        other.goto(f"{server.url}harness.html")
        other.wait_for_function("() => Boolean(window.mlcweb)")
        server.hits.clear()
        server.delay = 0.05
        begin = "() => { window.bringing = window.mlcweb.bring('./bundle/', { sum: true }); }"
        for tab in (page, other):
            tab.evaluate(begin)
        results = [tab.evaluate("() => window.bringing") for tab in (page, other)]
        assert (
            results[0]["sum"] == results[1]["sum"] and results[0]["warnings"] == results[1]["warnings"] == []
        )
        assert set(chunks_asked(server)) == {1}
    finally:
        other.close()


def test_a_tab_that_is_closed_leaves_the_rest_to_the_other(page: RawPage, server: EngineServer) -> None:
    other = page.context.new_page()
    other.goto(f"{server.url}harness.html")
    other.wait_for_function("() => Boolean(window.mlcweb)")
    server.delay = 0.2
    other.evaluate("() => { window.mlcweb.bring('./bundle/'); }")
    page.evaluate("() => { window.bringing = window.mlcweb.bring('./bundle/', { sum: true }); }")
    other.close()
    result = page.evaluate("() => window.bringing")
    assert result["warnings"] == []
    assert bring(page)["sum"] == result["sum"]


def test_storage_that_is_emptied_between_visits(page: RawPage, server: EngineServer) -> None:
    first = bring(page)
    session = page.context.new_cdp_session(page)
    session.send("Storage.clearDataForOrigin", {"origin": server.url.rstrip("/"), "storageTypes": "all"})
    server.hits.clear()
    again = bring(page)
    assert again["sum"] == first["sum"] and again["warnings"] == [] and set(chunks_asked(server)) == {1}


def test_storage_that_fills_up(chromium: Path, big: Path) -> None:
    """In the midst of a load, which goes on."""
    with EngineServer(ENGINE, big) as server, open_page(chromium, hold_signals=False) as opened:
        page = opened.raw
        opened.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
        session = page.context.new_cdp_session(page)
        origin = server.url.rstrip("/")
        session.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": 100 * MIB})
        first = bring(page, sum=False)
        assert first["bytes"] == CHUNKS * CHUNK and codes(first) == ["storage-full"]
        usage = page.evaluate("() => navigator.storage.estimate()")["usage"]
        assert 3 * CHUNK <= usage <= 100 * MIB
        server.hits.clear()
        again = bring(page, sum=False)
        assert codes(again) == ["storage-full"] and len(chunks_asked(server)) == CHUNKS - usage // CHUNK


def test_a_private_window(page: RawPage, server: EngineServer) -> None:
    browser = page.context.browser
    assert browser
    private = browser.new_context()
    tab = private.new_page()
    tab.goto(f"{server.url}harness.html")
    tab.wait_for_function("() => Boolean(window.mlcweb)")
    first = bring(tab)
    assert first["warnings"] == [] and bring(tab)["sum"] == first["sum"]
    private.close()


def test_memory_does_not_grow_with_the_model(
    chromium: Path, big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What JavaScript has, in the page and in its workers, as the browser measures it."""
    monkeypatch.setenv("MLCWEB_CHROMIUM_FLAGS", "--enable-blink-features=ForceEagerMeasureMemory")
    with serving(big) as served, open_page(chromium, hold_signals=False) as opened:
        opened.open(f"{served.url}harness.html", ready="() => Boolean(window.mlcweb)")
        for visit in ("first", "second"):
            result = opened.raw.evaluate("() => window.mlcweb.bring('./bundle/', { memory: true })")
            assert result["bytes"] == CHUNKS * CHUNK and result["carriers"] == 3
            assert CHUNK < result["memory"] < 150e6, visit
