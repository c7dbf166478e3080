"""A GPU device that is lost: the model is loaded again, and the answer under way goes on as if nothing had been."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser.model_page import ModelPage, Site, open_model_page
from tests.support.engine import needs_engine
from tests.support.tiny import TinyLlama

pytestmark = needs_engine

MODEL = TinyLlama(layers=1, context=512)
OPTIONS: dict[str, Any] = {"tiers": ("software",), "context_length": 512, "prefill_chunk": 16}
PROMPT = [(7 * i) % 250 + 3 for i in range(70)]
COUNT = 24

# `losses.at(method, calls...)` loses the device that makes the next such call of a prototype's method, and so on.
LOSE = """(() => {
  const devices = [], plan = [];
  const losses = window.losses = {
    devices,
    at: (...steps) => { plan.length = 0; plan.push(...steps); },
    now: () => devices.at(-1).destroy(),
    get left() { return plan.length; },
  };
  const happens = (name, device) => {
    const [step] = plan;
    if (step?.name !== name || --step.calls > 0) return;
    plan.shift();
    device.destroy();
  };
  const wrap = (prototype, name, deviceOf) => {
    const original = prototype[name];
    prototype[name] = function (...args) {
      happens(name, deviceOf(this));
      return original.apply(this, args);
    };
  };
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...args) {
    const device = await request.apply(this, args);
    devices.push(device);
    return device;
  };
  const ofQueue = queue => devices.find(device => device.queue === queue);
  wrap(GPUQueue.prototype, 'submit', ofQueue);
  wrap(GPUQueue.prototype, 'writeBuffer', ofQueue);
  for (const name of ['createBuffer', 'createComputePipelineAsync', 'createBindGroup', 'popErrorScope'])
    wrap(GPUDevice.prototype, name, device => device);
})()"""


@pytest.fixture(scope="module")
def page(chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(chromium, site, LOSE) as opened:
        yield opened


@pytest.fixture(scope="module")
def bundle(site: Site) -> str:
    return site.bundle("lost", MODEL, "q4f32_1", **OPTIONS)


def load(page: ModelPage, bundle: str, **options: Any) -> dict[str, Any]:
    """A load of its own, of an engine that has lost nothing yet."""
    page.raw.evaluate("losses.at()")
    result = page.call("load", f"./{bundle}/", {"activations": "float", **options})
    assert isinstance(result, dict)
    return result


def lose_at(page: ModelPage, *steps: tuple[str, int]) -> None:
    """After so many calls of a method, and then after so many of the next."""
    page.raw.evaluate("steps => losses.at(...steps)", [{"name": name, "calls": calls} for name, calls in steps])


def warnings(page: ModelPage) -> list[str]:
    return [warning["code"] for warning in page.right("warnings")["warnings"]]


@pytest.fixture(scope="module")
def expected(page: ModelPage, bundle: str) -> list[int]:
    """The tokens of an answer that nothing happens to."""
    load(page, bundle)
    tokens = page.right("greedy", PROMPT, COUNT)["tokens"]
    assert isinstance(tokens, list) and len(set(tokens)) > 3
    return tokens


# a prompt of 70 tokens has five chunks, and the first step is in the submission of the last of them
WHEN = {
    "prefill": [("submit", 2)],
    "the end of prefill": [("submit", 5)],
    "decode": [("submit", 9)],
    "decode twice in a row": [("submit", 9), ("submit", 9)],
    "decode, and again while it is loaded": [("submit", 9), ("writeBuffer", 3)],
    "decode, and again in prefill": [("submit", 9), ("submit", 3)],
}


@pytest.mark.parametrize("when", WHEN)
def test_an_answer_goes_on(when: str, page: ModelPage, bundle: str, expected: list[int]) -> None:
    load(page, bundle)
    before = page.raw.evaluate("losses.devices.length")
    lose_at(page, *WHEN[when])
    result = page.call("greedy", PROMPT, COUNT)
    print(when, result, page.raw.evaluate("[losses.left, losses.devices.length]"), warnings(page))
    assert result.get("tokens") == expected
