"""A GPU device that is lost: the model is loaded again, and the answer under way goes on as if nothing had been."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlcweb.browser.page import open_page
from tests.support.browser.device_losses import LOSE, lose_at, lost_as_planned
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import Mini
from tests.support.browser.model_page import ModelPage, Site, open_model_page
from tests.support.engine import ENGINE, needs_engine
from tests.support.tiny import TinyLlama

pytestmark = needs_engine

PROMPT = [(7 * i) % 250 + 3 for i in range(70)]
COUNT = 24


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    with EngineServer(ENGINE, Mini().write(tmp_path_factory.mktemp("mini"))) as running:
        yield running


@pytest.fixture(scope="module")
def browser(chromium: Path, server: EngineServer) -> Iterator[ModelPage]:
    with open_page(chromium, hold_signals=False) as page:
        page.raw.add_init_script(LOSE)
        page.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
        yield ModelPage(page.raw)


@pytest.fixture
def page(browser: ModelPage, server: EngineServer) -> Iterator[ModelPage]:
    """With an engine of its own, which has lost nothing yet."""
    server.down = False
    lose_at(browser.raw)
    browser.right("load", "./bundle/")
    yield browser
    lose_at(browser.raw)


WARNED = """async () => {
  while ((await mlcweb.warnings()).warnings.length === 0) await new Promise(resolve => setTimeout(resolve, 20));
}"""


def warnings(page: ModelPage) -> list[str]:
    return [warning["code"] for warning in page.right("warnings")["warnings"]]


# A prompt of 70 tokens has five chunks, and the first step is in the submission of the last of them.
WHEN = {
    "prefill": [("submit", 2)],
    "the end of prefill": [("submit", 5)],
    "decode": [("submit", 9)],
    "decode, twice in a row": [("submit", 9), ("submit", 9)],
    "decode, and again while it is loaded": [("submit", 9), ("writeBuffer", 3)],
    "decode, and again in prefill": [("submit", 9), ("submit", 3)],
    "the growth of the KV cache": [("createBuffer", 1)],
}


@pytest.mark.parametrize("when", WHEN)
def test_an_answer_goes_on(when: str, page: ModelPage, server: EngineServer) -> None:
    """Without the network: all is in the cache."""
    page.right("load", "./bundle/", {"firstTokens": 80})
    server.down = True
    lose_at(page.raw, *WHEN[when])
    assert page.right("greedy", PROMPT, COUNT)["tokens"] == Mini().greedy(PROMPT, COUNT)
    assert lost_as_planned(page.raw)
    recovered = 2 if when in ("decode, twice in a row", "decode, and again in prefill") else 1
    assert warnings(page) == ["recovered"] * recovered
    # and the conversation too
    longer = [*PROMPT, *Mini().greedy(PROMPT, COUNT), 9]
    assert page.right("greedy", longer, 8)["tokens"] == Mini().greedy(longer, 8)


REQUESTS: dict[str, dict[str, Any]] = {
    "drawn": {"temperature": 1.0, "seed": 11},
    "drawn, with penalties": {"temperature": 1.0, "seed": 11, "frequency_penalty": 1.0},
    "with log-probabilities": {"temperature": 1.0, "seed": 11, "logprobs": True, "top_logprobs": 2},
    "under a constraint": {
        "temperature": 1.0,
        "seed": 11,
        "response_format": {"type": "regex", "regex": "([a-z]{3}-=-[0-9]{2};){9}"},
    },
    "two choices": {"temperature": 1.0, "seed": 11, "n": 2},
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_chat_goes_on(kind: str, page: ModelPage) -> None:
    request = {"messages": [{"role": "user", "content": "one two"}], "max_tokens": 40, **REQUESTS[kind]}
    expected = page.right("create", request)["choices"]
    page.right("reset")
    lose_at(page.raw, ("submit", 12))
    assert page.right("create", request)["choices"] == expected
    assert lost_as_planned(page.raw)
    assert warnings(page) == ["recovered"]


def test_a_third_time_within_a_minute(page: ModelPage) -> None:
    lose_at(page.raw, ("submit", 9), ("submit", 9), ("submit", 9))
    error = page.call("greedy", PROMPT, COUNT)["error"]
    assert error["code"] == "device-lost" and "third time within a minute" in error["message"]
    assert warnings(page) == ["recovered"] * 2
    assert page.call("greedy", PROMPT, 2)["error"]["code"] == "device-lost"
    page.raw.evaluate("performance.now = (now => () => now.call(performance) + 61000)(performance.now)")
    assert page.right("greedy", PROMPT, 4)["tokens"] == Mini().greedy(PROMPT, 4)


def test_a_device_that_is_lost_while_nothing_is_asked(page: ModelPage) -> None:
    page.right("greedy", PROMPT, 4)
    page.raw.evaluate("losses.now()")
    assert page.right("encode", "one")["tokens"]
    page.raw.evaluate(WARNED)
    assert page.right("info")["cachedTokens"] == 0
    assert page.right("greedy", PROMPT, 4)["tokens"] == Mini().greedy(PROMPT, 4)


def test_a_page_that_wants_no_recovery(page: ModelPage) -> None:
    page.right("load", "./bundle/", {"recover": False})
    lose_at(page.raw, ("submit", 9))
    assert page.call("greedy", PROMPT, COUNT)["error"]["code"] == "device-lost"
    assert page.call("info")["error"]["code"] == "device-lost"


def test_unloading_after_a_loss_and_during_the_load_that_follows(page: ModelPage) -> None:
    page.raw.evaluate("losses.now()")
    page.right("unload")
    page.right("load", "./bundle/")
    devices = page.raw.evaluate("losses.devices.length")
    page.raw.evaluate(
        "void (window.under = mlcweb.greedy([5, 6, 7], 90)), losses.now(), void mlcweb.unload()"
    )
    assert page.raw.evaluate("under")["error"]["code"] == "unloaded"
    page.raw.wait_for_timeout(300)
    assert page.raw.evaluate("losses.devices.length") <= devices + 1


IN_A_LOAD = ["createBuffer", "createComputePipelineAsync", "writeBuffer", "createBindGroup", "popErrorScope"]


@pytest.mark.parametrize("call", IN_A_LOAD)
def test_a_device_that_is_lost_during_the_load(call: str, page: ModelPage) -> None:
    """The load begins again, once."""
    for calls in (1, 3):
        lose_at(page.raw, (call, calls))
        page.right("load", "./bundle/", {"cache": False})
        assert lost_as_planned(page.raw)
        assert page.right("greedy", PROMPT, 4)["tokens"] == Mini().greedy(PROMPT, 4)
    lose_at(page.raw, (call, 1), (call, 2))
    assert page.call("load", "./bundle/", {"cache": False})["error"]["code"] == "device-lost"
    lose_at(page.raw, (call, 2))
    result = page.call("load", "./bundle/", {"cache": False, "recover": False})
    assert result["error"]["code"] == "device-lost"


MODEL = TinyLlama(layers=1, context=512)


@pytest.fixture(scope="module")
def real(chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(chromium, site, LOSE) as opened:
        yield opened


SOME = [
    "decode, twice in a row",
    *(pytest.param(when, marks=pytest.mark.sweep) for when in WHEN if when != "decode, twice in a row"),
]


@pytest.mark.parametrize("when", SOME)
def test_a_compiled_model_goes_on(when: str, real: ModelPage, site: Site) -> None:
    bundle = site.bundle("lost", MODEL, "q4f32_1", tiers=("software",), context_length=512, prefill_chunk=16)
    options = {"activations": "float", "firstTokens": 80}
    lose_at(real.raw)
    real.right("load", f"./{bundle}/", options)
    expected = real.right("greedy", PROMPT, COUNT)["tokens"]
    assert len(set(expected)) > 3
    real.right("reset")
    real.right("load", f"./{bundle}/", options)
    lose_at(real.raw, *WHEN[when])
    assert real.right("greedy", PROMPT, COUNT)["tokens"] == expected
    assert lost_as_planned(real.raw)


@pytest.mark.parametrize(
    "kind", ["drawn, with penalties", pytest.param("under a constraint", marks=pytest.mark.sweep)]
)
def test_a_compiled_model_draws_on(kind: str, real: ModelPage, site: Site) -> None:
    """On the GPU, whose counts and random numbers go on."""
    bundle = site.bundle("lost", MODEL, "q4f32_1", tiers=("software",), context_length=512, prefill_chunk=16)
    lose_at(real.raw)
    real.right("load", f"./{bundle}/", {"activations": "float"})
    request = {"messages": [{"role": "user", "content": "one two"}], "max_tokens": 40, **REQUESTS[kind]}
    expected = real.right("create", request)["choices"]
    real.right("reset")
    # early: a submission has as many steps as the GPU's speed allows
    lose_at(real.raw, ("submit", 6))
    assert real.right("create", request)["choices"] == expected
    assert lost_as_planned(real.raw)
