"""Recurrent layers in the engine: what was said, repeated or cut short before does not change an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlcweb.bundle import open_bundle
from mlcweb.bundle.inspect import gpu_memory
from mlcweb.compile import CompileRequest, compile_bundle
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.support.browser.model_page import ModelPage, Site, open_model_page
from tests.support.engine import needs_engine

pytestmark = needs_engine
CASE = BY_NAME["lfm2"]
CONTEXT = 512


@pytest.fixture(scope="module")
def page(chromium: Path, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelPage]:
    source = make_checkpoint(tmp_path_factory.mktemp("lfm2"), CASE)
    request = CompileRequest(
        str(source), quantization="q4f32_1", out_dir=site.folder / "lfm2", name="lfm2", context_length=CONTEXT,
        prefill_chunk=64, tiers=("base",), evaluate=False, scales="mlc",
    )  # fmt: skip
    compile_bundle(request)
    with open_model_page(chromium, site) as opened:
        opened.load("lfm2", tier="base", activations="float")
        yield opened


def test_a_talk_is_what_new_talks_would_be(page: ModelPage) -> None:
    rng = np.random.default_rng(3)
    said: list[tuple[list[int], list[int]]] = []
    talk: list[int] = []

    def answer(prompt: list[int], count: int) -> list[int]:
        tokens: list[int] = page.right("greedy", prompt, count)["tokens"]
        said.append((prompt, tokens))
        return tokens

    page.right("reset")
    for turn, (words, count) in enumerate([(20, 30), (5, 90), (70, 8), (1, 3), (12, 20)]):
        prompt = [*talk, *rng.integers(5, CASE.vocab_size, words).tolist()]
        tokens = answer(prompt, count)
        assert answer(prompt, count) == tokens  # regenerated
        if turn % 2:
            answer(prompt[: len(prompt) // 2], 5)  # another talk that begins alike
        talk = [*prompt, *tokens[: count // 2]]  # as if the answer had been stopped
    for prompt, tokens in said:
        page.right("reset")
        assert page.right("greedy", prompt, len(tokens))["tokens"] == tokens


@pytest.mark.sweep
def test_choices_and_formats_are_what_new_talks_would_say(page: ModelPage) -> None:
    asked = {"max_tokens": 24, "temperature": 0.9, "seed": 5}
    formats: list[dict[str, object]] = [
        {},
        {"n": 3},
        {"response_format": {"type": "regex", "regex": "[a-f]{3}(xyzxyzxyz|uvw)[0-9]{4,9}!"}},
        {"frequency_penalty": 0.5},
        {"logprobs": True, "top_logprobs": 2},
    ]
    requests = [
        {"messages": [{"role": "user", "content": text}], **asked, **more}
        for text in ("one", "one two")
        for more in formats
    ]

    def texts(request: dict[str, object]) -> list[str]:
        choices = page.right("create", request)["choices"]
        return [choice["message"]["content"] for choice in choices]

    page.right("reset")
    talked = [texts(request) for request in requests]
    for request, before in zip(requests, talked, strict=True):
        page.right("reset")
        assert texts(request) == before


def test_its_memory_is_what_inspect_says(page: ModelPage, site: Site) -> None:
    bundle = open_bundle(site.folder / "lfm2")
    sizes = gpu_memory(bundle.plan("base"), CONTEXT, bundle.manifest.model.page_size)
    assert sizes["recurrent"] == 5 * 3 * 2 * 128 * 4  # 3 layers, two rows of 128; and four copies
    assert page.right("info")["memory"]["recurrent"] == sizes["recurrent"]
