"""GPU memory: what `mlcweb inspect` says is what the engine allocates, and the KV cache grows without a trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlcweb.cli.command import run
from tests.support.browser.model_page import ModelPage, Site, open_model_page
from tests.support.engine import needs_engine
from tests.support.tiny import TinyLlama

pytestmark = needs_engine

# Its context is longer than the KV cache that a load begins with, and its pages are small.
MODEL = TinyLlama(context=2048, layers=1)
PROMPT = [(7 * i) % 250 + 3 for i in range(40)]


@pytest.fixture(scope="module")
def page(chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(chromium, site) as opened:
        yield opened


OPTIONS: dict[str, Any] = {"tiers": ("subgroups",), "context_length": 2048, "prefill_chunk": 16}


@pytest.fixture(scope="module")
def bundle(site: Site) -> str:
    return site.bundle("memory", MODEL, "q4f32_1", **OPTIONS)


def inspected(folder: Path, context: int, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The memory row of `mlcweb inspect --format json` for a context."""
    capsys.readouterr()
    assert run(["inspect", str(folder), "--context", str(context), "--format", "json"]) == 0
    (tier,) = json.loads(capsys.readouterr().out)["tiers"]
    (row,) = tier["memory"]
    assert isinstance(row, dict)
    return row


KINDS = ("weight", "recurrent", "input", "output", "scratch", "uniform")


@pytest.mark.parametrize("context", [2048, pytest.param(200, marks=pytest.mark.sweep)])
def test_inspect_says_what_the_engine_allocates(
    context: int, page: ModelPage, site: Site, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = inspected(site.folder / bundle, context, capsys)
    first = page.load(bundle, contextLength=context, activations="int8")
    assert first["kvTokens"] == min(context, 1024)
    at_load = {**{kind: row[kind] for kind in KINDS}, "kv": row["kv_at_load"], "total": row["total_at_load"]}
    assert first["memory"] == {**at_load, "staging": 0}
    if context > 1024:
        whole = page.load(bundle, contextLength=context, firstTokens=context, activations="int8")
        assert whole["kvTokens"] == context
        grown = {**{kind: row[kind] for kind in KINDS}, "kv": row["kv"], "total": row["total"]}
        assert whole["memory"] == {**grown, "staging": 0}


@pytest.mark.sweep
def test_a_packed_cache_takes_half_in_both(
    page: ModelPage, site: Site, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = site.bundle("memory", MODEL, "q4f32_1", kv_cache_dtype="float16", **OPTIONS)
    row, usual = inspected(site.folder / packed, 2048, capsys), inspected(site.folder / bundle, 2048, capsys)
    assert (row["kv"], row["kv_at_load"]) == (usual["kv"] // 2, usual["kv_at_load"] // 2)
    for first, kind in ((2048, "kv"), (1024, "kv_at_load")):
        info = page.load(packed, contextLength=2048, firstTokens=first)
        assert info["memory"]["kv"] == row[kind]
    assert info["kvCacheDtype"] == "float16"


def test_growing_changes_no_logit(page: ModelPage, bundle: str) -> None:
    """From 32 tokens: for the prompt of 40, and in the steps after it, whoever samples."""
    following = [(5 * i) % 250 + 3 for i in range(26)]
    page.load(bundle, contextLength=100, firstTokens=100)
    expected = page.right("replay", PROMPT, following)["steps"]
    answer = page.right("greedy", PROMPT[:30], 40)["tokens"]

    info = page.load(bundle, contextLength=100, firstTokens=32)
    assert info["kvTokens"] == 32
    assert page.right("replay", PROMPT, following)["steps"] == expected
    grown = page.right("info")
    assert grown["kvTokens"] == 100
    assert grown["memory"]["kv"] == info["memory"]["kv"] // 2 * 7, "whole pages, and only the new buffers"

    page.loaded = "", {}
    page.load(bundle, contextLength=100, firstTokens=32)
    assert page.right("greedy", PROMPT[:30], 40)["tokens"] == answer
    assert page.right("info")["kvTokens"] == 100


FULL = """(() => {
  const create = GPUDevice.prototype.createBuffer, pop = GPUDevice.prototype.popErrorScope;
  let refused = false;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    if (descriptor.size <= (window.mostBytes ?? Infinity)) return create.call(this, descriptor);
    refused = true;
    return create.call(this, { ...descriptor, size: 16 });
  };
  GPUDevice.prototype.popErrorScope = async function () {
    const error = await pop.call(this);
    const full = refused;
    refused = false;
    return full ? { message: "full" } : error;
  };
})()"""


def test_a_cache_that_cannot_grow_leaves_the_conversation(chromium: Path, site: Site, bundle: str) -> None:
    with open_model_page(chromium, site, FULL) as small:
        first = small.load(bundle, contextLength=100, firstTokens=32)
        small.raw.evaluate(f"window.mostBytes = {first['memory']['kv']}")
        answer = small.right("greedy", PROMPT[:20], 12)["tokens"]
        error = small.call("greedy", PROMPT[:20], 30)["error"]
        assert error["code"] == "out-of-memory" and "32 fit" in error["message"]
        info = small.right("info")
        assert info["memory"]["kv"] == first["memory"]["kv"] and info["kvTokens"] == 32
        assert info["cachedTokens"] >= 30, "the conversation is still there"
        assert small.right("greedy", PROMPT[:20], 12)["tokens"] == answer
        small.raw.evaluate("delete window.mostBytes")
        assert small.right("greedy", PROMPT[:20], 30)["tokens"][:12] == answer
        assert small.right("info")["kvTokens"] == 64
