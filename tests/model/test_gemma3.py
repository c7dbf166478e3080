"""Gemma-3-270M as its GGUF file has it (Q8_0, Q5_0, Q4_K, Q6_K): it says what llama.cpp says, and a browser agrees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlcweb.bundle import open_bundle, same_share
from mlcweb.cli.command import run
from mlcweb.evaluate.subject import bundle_subject
from tests.support.engine import needs_engine

PROMPT = "The capital of France is"
# llama.cpp (node-llama-cpp 3.21.1) on the same file, greedy: 15 tokens.
ANSWER = " the capital of the country of France. It is the largest city in France"
TOKENS = 15


@pytest.mark.sweep
def test_the_host_goes_on_as_llama_cpp_does(gemma_bundle: Path) -> None:
    subject = bundle_subject(open_bundle(gemma_bundle))
    prompt, before = subject.renderer.text(PROMPT)
    tokens, actual = [*before, *prompt], list[int]()
    host = subject.predictor(len(tokens) + TOKENS)
    host.begin(tokens)
    while len(actual) < TOKENS:
        actual.append(int(host.feed(tokens)[-1].argmax()))
        tokens = actual[-1:]
    assert subject.renderer.decode(actual) == ANSWER


def test_every_tensor_has_the_files_type_and_size(gemma_bundle: Path) -> None:
    manifest = open_bundle(gemma_bundle).manifest
    assert manifest.model.quantization == "gguf" and manifest.model.parameters == 268_098_176
    stored = sum(
        tensor.bytes
        for tensor in manifest.weights.tensors
        if not tensor.name.startswith(("rope", "local_rope"))
    )
    assert stored == 246_587_904  # the file's tensors, to the byte
    assert manifest.quality is not None
    assert same_share(manifest.quality) == 1.0 and manifest.quality.kl_micronats <= 100


@needs_engine
def test_validate_passes_on_stock_chromium(gemma_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", str(gemma_bundle), "--tier", "software", "--format", "json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["bundles"][0]["tiers"]
    assert report["passed"] is True and report["tokens"] == report["expected"]
