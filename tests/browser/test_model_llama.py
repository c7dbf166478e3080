"""Compiled Llamas in the real engine: every logit against transformers', and against the host reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.browser.model_page import ModelPage, Site, open_model_page
from tests.support.browser.validation import check_validation
from tests.support.engine import needs_engine
from tests.support.llama_cases import CASES, ODD, STEPS, host, prompt
from tests.support.tiny import TinyLlama

pytestmark = needs_engine

EXPECTED = np.load(Path(__file__).parents[1] / "fixtures" / "llama_logits.npz")
# A load makes every pipeline anew, seconds each on a CPU: so few loads, and tests of one bundle follow one another.
MODELS = {**CASES, "odd": ODD}
CHUNKED = {"prefill_chunk": 16}
SHARED = {"tier": "subgroups"}


@pytest.fixture(scope="module")
def page(chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(chromium, site) as opened:
        yield opened


@pytest.fixture(scope="module")
def f16_page(f16_chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(f16_chromium, site) as opened:
        yield opened


def worst(actual: Any, expected: np.ndarray) -> float:
    """The largest difference, relative to the range of the expected logits; NaN is infinitely far."""
    difference = np.abs(np.array(actual, np.float64) - expected).max() / np.ptp(expected)
    return float(np.nan_to_num(difference, nan=np.inf))


def reference(model: TinyLlama, tokens: list[int], following: list[int]) -> list[np.ndarray]:
    """The host reference's logits after the tokens and after each that follows."""
    llama = host(model, len(tokens) + len(following))
    return [llama.feed(tokens), *(llama.feed([token]) for token in following)]


@pytest.mark.parametrize(
    ("name", "tier", "chunk"),
    [("untied-llama3", "base", 64), ("tied", "subgroups", 16), ("tied", "software", 16)],
)
def test_every_logit_is_transformers(name: str, chunk: int, tier: str, page: ModelPage, site: Site) -> None:
    """40 tokens of prompt, in one chunk or in three, then 16 steps, over the page boundary at 48."""
    assert page.load(site.bundle(name, CASES[name], "q0f32", prefill_chunk=chunk), tier=tier)["tier"] == tier
    expected = EXPECTED[name]
    greedy = [int(logits.argmax()) for logits in expected]
    assert len(greedy) == STEPS + 1
    steps = page.right("replay", prompt(CASES[name]), greedy[:STEPS])["steps"]
    assert len(steps) == STEPS + 1
    for actual, wanted in zip(steps, expected, strict=True):
        assert worst(actual, wanted) < 1e-3
    assert page.right("greedy", prompt(CASES[name]), STEPS + 1)["tokens"] == greedy


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 31, 33, 250])
def test_lengths_around_pages_and_chunks(length: int, page: ModelPage, site: Site) -> None:
    """Prefills of odd lengths, and decoding from there over the next page's boundary."""
    model = CASES["tied"]
    page.load(site.bundle("tied", model, "q0f32", **CHUNKED), **SHARED)
    tokens = np.random.default_rng(length).integers(0, model.vocab, length + 18).tolist()
    steps = page.right("replay", tokens[:length], tokens[length:])["steps"]
    expected = reference(model, tokens[:length], tokens[length:])
    assert [i for i, pair in enumerate(zip(steps, expected, strict=True)) if worst(*pair) >= 1e-3] == []


def test_a_second_turn_reuses_the_cache_and_changes_nothing(page: ModelPage, site: Site) -> None:
    page.load(site.bundle("tied", CASES["tied"], "q0f32", **CHUNKED), **SHARED)
    options = {"temperature": 0, "max_tokens": 6, "logprobs": True, "top_logprobs": 5}
    turns = [{"role": "user", "content": "Where is the train?"}]
    first = page.right("chat", turns, options)
    turns += [{"role": "assistant", "content": first["text"]}, {"role": "user", "content": "And the other?"}]
    second = page.right("chat", turns, options)
    page.right("reset")
    fresh = page.right("chat", turns, options)
    cached = [
        answer["usage"].get("extra", {}).get("cached_prompt_tokens", 0) for answer in (first, second, fresh)
    ]
    assert cached[0] == cached[2] == 0
    assert cached[1] >= first["usage"]["prompt_tokens"]
    assert second["text"] == fresh["text"] and len(second["logprobs"]) == 6
    for actual, expected in zip(second["logprobs"], fresh["logprobs"], strict=True):
        assert actual["token"] == expected["token"]
        assert actual["logprob"] == pytest.approx(expected["logprob"], abs=1e-4)


@pytest.mark.parametrize(
    "form", [{}, {"response_format": {"type": "regex", "regex": "[a-e ]{0,9}(xyz|abc)[a-h]{4,40}"}}]
)
def test_the_gpus_penalties_are_the_cpus(form: dict[str, Any], page: ModelPage, site: Site) -> None:
    """Log-probabilities are what needs the CPU's sampler."""
    page.load(site.bundle("tied", CASES["tied"], "q0f32", **CHUNKED), **SHARED)
    turns, texts = [{"role": "user", "content": "Where is the train?"}], []
    for penalties in (
        {"repetition_penalty": 1.4},
        {"frequency_penalty": 0.7, "presence_penalty": 0.9},
        {"repetition_penalty": 1.1, "frequency_penalty": -0.4},
        {},
    ):
        options = {"temperature": 0, "max_tokens": 30, **penalties, **form}
        on_gpu = page.right("chat", turns, options)
        on_cpu = page.right("chat", turns, {**options, "logprobs": True})
        assert on_gpu["text"] == on_cpu["text"] and len(on_cpu["logprobs"]) > 4
        assert on_gpu["usage"]["completion_tokens"] == on_cpu["usage"]["completion_tokens"]
        texts.append(on_gpu["text"])
    assert len(set(texts)) > 2


def test_answers_after_a_roll_back_are_those_of_a_fresh_prompt(page: ModelPage, site: Site) -> None:
    """What lies in the cache past the common prefix must not be seen."""
    page.load(site.bundle("tied", CASES["tied"], "q0f32", **CHUNKED), **SHARED)
    tokens = prompt(CASES["tied"])
    page.right("greedy", [*tokens[:30], 7, 8, 9, 10, 11], 20)
    assert page.right("greedy", tokens, 5)["tokens"] == [int(x.argmax()) for x in EXPECTED["tied"][:5]]


def test_the_engine_renders_the_prompt_as_the_compiler_did(page: ModelPage, site: Site) -> None:
    from mlcweb.reference.prompt import PromptRenderer

    name = site.bundle("tied", CASES["tied"], "q0f32", **CHUNKED)
    page.load(name, **SHARED)
    files = {
        key: next((site.folder / name).glob(f"{key.split('.')[0]}.*.json")).read_bytes()
        for key in ("tokenizer.json", "tokenizer_config.json")
    }
    for text in ("What is the capital of France?", " in the  théâtre\n", "<|im_end|>"):
        actual = page.right("encodeChat", [{"role": "user", "content": text}])["tokens"]
        assert actual == PromptRenderer(files).tokens(text)


def test_a_context_that_is_no_multiple_of_a_page(page: ModelPage, site: Site) -> None:
    """Compiled for 100 tokens and loaded with 70: it can be filled to the last, and no further."""
    model = CASES["tied"]
    bundle = site.bundle("tied", model, "q0f32", context_length=100, **CHUNKED)
    info = page.load(bundle, contextLength=70, tier="base")
    assert info["contextLength"] == 70
    per_token = 2 * model.layers * model.kv_heads * model.head_dim * 4
    assert info["memory"]["kv"] == 80 * per_token, "five pages hold 70 tokens"
    tokens = np.random.default_rng(4).integers(0, model.vocab, 70).tolist()
    steps = page.right("replay", tokens[:60], tokens[60:])["steps"]
    assert worst(steps[-1], reference(model, tokens[:60], tokens[60:])[-1]) < 1e-3
    assert len(page.right("greedy", tokens[:65], 1000)["tokens"]) == 5
    error = page.call("greedy", tokens, 1)["error"]
    assert error["code"] == "context-length" and "70" in error["message"]


@pytest.mark.parametrize(
    ("name", "scheme", "tier"),
    [
        ("tied", "q4f32_1", "base"),
        ("untied-llama3", "q4f16_1", "subgroups"),
        ("tied", "q4f32_1", "software"),
        ("odd", "q4f16_1", "software"),  # its scales are odd in number, and bound as words
        ("odd", "q3f16_1", "software"),
        ("odd", "q8f16_1", "base"),
        ("odd", "q4f16_2", "subgroups"),
    ],
)
def test_quantized_models_validate(name: str, scheme: str, tier: str, page: ModelPage, site: Site) -> None:
    check_validation(page.validate(site.bundle(name, MODELS[name], scheme), tier), tier)


@pytest.mark.parametrize("tier", ["base", "subgroups", "software"])
def test_packed_kv_caches_validate(tier: str, page: ModelPage, site: Site) -> None:
    name = "untied-llama3"
    bundle = site.bundle(name, CASES[name], "q4f32_1", kv_cache_dtype="float16")
    report = page.validate(bundle, tier)
    assert report["activation"] == "float16"
    check_validation(report, tier)
    # what only the cache's elements may cost: well under what float16 arithmetic is admitted
    assert 1e-6 < report["max_relative_difference"] < 2e-3


@pytest.mark.parametrize(("name", "scheme"), [("tied", "q4f32_1"), ("odd", "q4f32_1"), ("odd", "q8f16_1")])
def test_int8_activations_validate(name: str, scheme: str, page: ModelPage, site: Site) -> None:
    report = page.validate(site.bundle(name, MODELS[name], scheme), "subgroups", activations="int8")
    assert report["activation"] == "int8"
    check_validation(report, "subgroups")


@pytest.mark.parametrize(
    ("name", "scheme", "tier"),
    [
        ("tied", "q4f16_1", "f16"),
        ("odd", "q4f16_1", "f16-subgroups"),
        ("odd", "q3f16_1", "f16"),
    ],
)
def test_f16_tiers_validate(name: str, scheme: str, tier: str, f16_page: ModelPage, site: Site) -> None:
    check_validation(f16_page.validate(site.bundle(name, MODELS[name], scheme), tier), tier)


@pytest.mark.sweep
def test_f16_tiers_validate_with_a_float32_cache(f16_page: ModelPage, site: Site) -> None:
    bundle = site.bundle("tied", CASES["tied"], "q4f16_1", kv_cache_dtype="float32")
    check_validation(f16_page.validate(bundle, "f16-subgroups"), "f16-subgroups")
