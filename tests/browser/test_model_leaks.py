"""A load that fails or is cancelled gives back all GPU memory, and so do unloading and loading another bundle."""

from __future__ import annotations

import statistics
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

# The allocation `refuse.at` is refused, as a GPU without room does: by the scope around it, or as an uncaptured error.
REFUSE = """(() => {
  const { createBuffer, pushErrorScope, popErrorScope } = GPUDevice.prototype;
  const scopes = new WeakMap();
  const refuse = window.refuse = { at: 0, asked: 0 };
  const of = device => scopes.get(device) ?? scopes.set(device, []).get(device);
  GPUDevice.prototype.pushErrorScope = function (filter) {
    of(this).push({ filter, full: false });
    return pushErrorScope.call(this, filter);
  };
  GPUDevice.prototype.popErrorScope = function () {
    const { full } = of(this).pop();
    const popped = popErrorScope.call(this);
    return full ? popped.then(() => new GPUOutOfMemoryError('full')) : popped;
  };
  GPUDevice.prototype.createBuffer = function (descriptor) {
    if (++refuse.asked === refuse.at) {
      const scope = of(this).findLast(({ filter }) => filter === 'out-of-memory');
      const error = new GPUOutOfMemoryError('full');
      if (scope) scope.full = true;
      else queueMicrotask(() => this.dispatchEvent(new GPUUncapturedErrorEvent('uncapturederror', { error })));
    }
    return createBuffer.call(this, descriptor);
  };
})()"""

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
        page.raw.add_init_script(REFUSE)
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


def refused_at(page: ModelPage, allocation: int) -> None:
    page.raw.evaluate("at => Object.assign(window.refuse, { at, asked: 0 })", allocation)


def test_no_room_at_any_allocation(page: ModelPage) -> None:
    """In a load, in an answer, and where the KV cache grows: a typed error, and nothing is left behind."""
    small = {"cache": False, "firstTokens": 16}
    refused_at(page, 0)
    page.right("load", "./bundle/", small)
    at_load = page.raw.evaluate("window.refuse.asked")
    answer = page.right("greedy", [5, 6, 7], 40)["tokens"]
    in_all = page.raw.evaluate("window.refuse.asked")
    assert in_all > at_load > 8
    ended = {"load": 0, "answer": 0, "smaller": 0}
    for allocation in range(1, in_all + 1):
        page.right("unload")
        refused_at(page, allocation)
        result = page.call("load", "./bundle/", small)
        if "error" not in result:
            assert allocation > at_load
            result = page.call("greedy", [5, 6, 7], 40)
        if "error" in result:
            assert result["error"]["code"] == "out-of-memory", (allocation, result)
            ended["load" if allocation <= at_load else "answer"] += 1
        else:
            assert result["tokens"] == answer
            ended["smaller"] += 1
        page.right("unload")
        assert live(page) == (0, 0), allocation
    refused_at(page, 0)
    assert ended["load"] == at_load
    assert ended["answer"] > 0


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.sweep)])
def test_memory_returns_to_where_it_was(page: ModelPage, rounds: int) -> None:
    """After load, answer and unload: GPU bytes by what was made and destroyed, the heap after a collection."""
    session = page.raw.context.new_cdp_session(page.raw)

    def heap() -> int:
        for _ in range(3):
            session.send("HeapProfiler.collectGarbage")
        return int(session.send("Runtime.getHeapUsage")["usedSize"])

    def use() -> None:
        page.right("load", "./bundle/", {"cache": False})
        page.right("greedy", [5, 6, 7], 40)
        page.right("unload")
        assert live(page) == (0, 0)

    for _ in range(10):  # code is compiled, and what the page keeps for all loads is there
        use()
    before, grown = heap(), []
    for _ in range(rounds):
        use()
        grown.append(heap() - before - sum(grown))
    session.detach()
    assert statistics.median(grown) < 8_000, "a loaded model is some 20 000 bytes and more"
