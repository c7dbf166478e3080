"""A load that fails or is cancelled gives back all GPU memory, and so do unloading and loading another bundle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcweb.browser.page import open_page
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import Mini
from tests.support.browser.model_page import ModelPage
from tests.support.engine import ENGINE, needs_engine

pytestmark = needs_engine

WEIGHTS = 4000 + 1040 + 16  # bytes of the tensors that the plan binds

# Buffers that were made and not destroyed, by themselves or with their device.
COUNT = """(() => {
  const live = new Map();
  const counts = window.gpuCounts = {
    get bytes() { return [...live.values()].reduce((sum, { size }) => sum + size, 0); },
    get devices() { return [...devices].length; }, peak: 0, made: 0,
  };
  const devices = new Set();
  const wrap = (prototype, name, around) => {
    const original = prototype[name];
    prototype[name] = function (...args) { return around.call(this, (...a) => original.apply(this, a), ...args); };
  };
  wrap(GPUAdapter.prototype, 'requestDevice', async function (call, ...args) {
    const device = await call(...args);
    devices.add(device);
    return device;
  });
  wrap(GPUDevice.prototype, 'createBuffer', function (call, descriptor) {
    const buffer = call(descriptor);
    live.set(buffer, { size: buffer.size, device: this });
    counts.made++;
    counts.peak = Math.max(counts.peak, counts.bytes);
    return buffer;
  });
  wrap(GPUBuffer.prototype, 'destroy', function (call) { live.delete(this); return call(); });
  wrap(GPUDevice.prototype, 'destroy', function (call) {
    for (const [buffer, { device }] of live) if (device === this) live.delete(buffer);
    devices.delete(this);
    return call();
  });
})()"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Mini().write(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[EngineServer]:
    with EngineServer(ENGINE, bundle) as running:
        yield running


@pytest.fixture(scope="module")
def browser(chromium: Path, server: EngineServer) -> Iterator[ModelPage]:
    with open_page(chromium, hold_signals=False) as page:
        page.raw.add_init_script(COUNT)
        page.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
        yield ModelPage(page.raw)


@pytest.fixture
def page(browser: ModelPage, server: EngineServer) -> Iterator[ModelPage]:
    """With nothing loaded, and counting from there."""
    server.damage.clear()
    server.delay = 0.0
    browser.call("unload")
    browser.raw.evaluate("Object.assign(window.gpuCounts, { peak: 0, made: 0 })")
    assert live(browser) == (0, 0)
    yield browser


def live(page: ModelPage) -> tuple[int, int]:
    """(bytes of buffers, devices) that are not destroyed."""
    bytes_, devices = page.raw.evaluate("[window.gpuCounts.bytes, window.gpuCounts.devices]")
    return int(bytes_), int(devices)


def peak_bytes(page: ModelPage) -> int:
    return int(page.raw.evaluate("window.gpuCounts.peak"))


@pytest.mark.parametrize("kind", ["weights-003", "kernels.base", "model."])
def test_a_damaged_file(kind: str, page: ModelPage, server: EngineServer, bundle: Path) -> None:
    server.damage = {file.name for file in bundle.iterdir() if file.name.startswith(kind)}
    assert page.call("load", "./bundle/", {"cache": False})["error"]["code"] == "integrity"
    if kind == "weights-003":
        assert peak_bytes(page) > WEIGHTS, "it failed before it had allocated anything"
    assert live(page) == (0, 0)


def test_a_cancelled_load(page: ModelPage, server: EngineServer) -> None:
    server.delay = 0.7
    page.raw.evaluate("void (window.cancelled = window.mlcweb.load('./bundle/', { cache: false }))")
    deadline = time.monotonic() + 60
    while not page.raw.evaluate("window.gpuCounts.made > 8"):
        assert time.monotonic() < deadline, "it never allocated"
    page.raw.evaluate("window.mlcweb.cancelLoad()")
    assert page.raw.evaluate("window.cancelled")["error"]["code"] == "cancelled"
    assert peak_bytes(page) > WEIGHTS
    assert live(page) == (0, 0)


def test_loading_again_and_unloading(page: ModelPage) -> None:
    first = None
    for _ in range(2):
        page.right("load", "./bundle/", {"cache": False})
        loaded, devices = live(page)
        assert loaded > WEIGHTS and devices == 1
        assert first in (None, loaded), "the bundle before this one is still there"
        first = loaded
    for _ in range(3):
        page.right("greedy", [5, 6, 7], 40)
    assert live(page)[0] - loaded < 40 * 32, "a staging buffer of 32 bytes for each step"
    page.right("unload")
    assert live(page) == (0, 0)
