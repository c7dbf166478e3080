"""The engine in Firefox, on SwiftShader: the tier that it takes, and what differs between browsers.

Firefox has no subgroups (test_naga.py says why) and says of every adapter that its are of 4 to 128.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.expected import load
from tests.support.browser.families import Measuring
from tests.support.browser.firefox import open_firefox
from tests.support.browser.model_page import ModelPage, Site
from tests.support.browser.vulkan import vulkan_of
from tests.support.engine import needs_engine
from tests.support.tiny import TinyLlama

pytestmark = needs_engine

USER = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def page(
    firefox: Path, chromium: Path, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelPage]:
    with open_firefox(firefox, vulkan_of(chromium), site, tmp_path_factory.mktemp("firefox")) as raw:
        yield ModelPage(raw)


@pytest.fixture(scope="module")
def small(site: Site) -> str:
    return site.bundle("small", TinyLlama(), "q4f32_1", context_length=256, prefill_chunk=32)


@pytest.mark.parametrize(
    ("name", "activations", "tolerance"),
    [
        pytest.param("llama-3.2", "float", 1e-4, marks=pytest.mark.sweep),
        ("llama-3.2", "int8", 5e-2),
        pytest.param("gemma-2", "float", 2e-4, marks=pytest.mark.sweep),
    ],
)
def test_logits_are_those_of_transformers(
    page: ModelPage, site: Site, tmp_path: Path, name: str, activations: str, tolerance: float
) -> None:
    actual = Measuring(site, page, tmp_path, "base").measure(name, "q4f32_1", activations)
    assert actual.error < tolerance, f"at position {actual.position}"
    if activations == "float":
        assert actual.greedy == load(BY_NAME[name], "q4f32_1").greedy


def test_it_takes_the_best_tier_it_can(page: ModelPage, small: str) -> None:
    info = page.load(small, firstTokens=32)
    assert (info["tier"], info["activations"]) == ("base", "float")
    assert info["adapter"]["software"] and info["adapter"]["fallback"]
    assert page.right("validate")["ok"]


def test_a_conversation(page: ModelPage, small: str) -> None:
    page.load(small, firstTokens=32)
    before = page.right("info")["memory"]["kv"]
    tokens = page.right("greedy", [1, 2, 3], 200)["tokens"]
    assert page.right("info")["memory"]["kv"] > before
    assert page.right("greedy", [1, 2, 3, *tokens[:170]], 30)["tokens"] == tokens[170:]
    answer = page.right("chat", USER, {"temperature": 0, "max_tokens": 12})
    again = page.right("chat", USER, {"temperature": 0, "max_tokens": 12})
    assert again["text"] == answer["text"]
    assert again["usage"]["extra"]["cached_prompt_tokens"] > 0
    sampled = {
        "temperature": 0.9,
        "top_p": 0.9,
        "frequency_penalty": 0.5,
        "seed": 7,
        "max_tokens": 12,
        "logprobs": True,
    }
    assert len(page.right("chat", USER, sampled)["logprobs"]) == 12
    assert page.right("unload") == {}


def test_a_second_visit_is_from_the_cache(page: ModelPage, small: str) -> None:
    url = f"./{small}/"
    report = page.right("benchLoad", url, {})
    assert report["first"]["first_token_s"] > 0 and report["again"]["first_token_s"] > 0
    assert page.right("deleteFromCache", url)["deleted"] > 3
    page.loaded = "", {}


def test_a_tier_that_it_lacks(page: ModelPage, small: str) -> None:
    missing = page.call("load", f"./{small}/", {"tier": "subgroups"})["error"]
    assert missing["code"] == "missing-feature" and "subgroups" in missing["message"]
    page.loaded = "", {}
