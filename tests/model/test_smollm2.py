"""SmolLM2-135M, whole: its answer names Paris, and agrees with the host reference on each kind of browser.

A browser without a GPU decodes a token of another tier than its own in seconds: so few tokens, and each tier once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlcweb.browser.session import LoadOptions, open_session
from mlcweb.bundle import open_bundle
from mlcweb.cli.command import run
from mlcweb.progress import SilentProgress
from mlcweb.recipes import find_recipe
from tests.support.engine import needs_engine

PARIS = "The capital of France is Paris."


def validation(bundle: Path) -> dict[str, Any]:
    manifest = open_bundle(bundle).manifest
    assert manifest.validation
    value = json.loads((bundle / manifest.validation).read_text())
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    "fixture",
    [
        "gguf_bundle",
        pytest.param("q4f32_bundle", marks=pytest.mark.sweep),
        pytest.param("q4f16_bundle", marks=pytest.mark.sweep),
    ],
)
def test_the_reference_names_paris(fixture: str, request: pytest.FixtureRequest) -> None:
    bundle: Path = request.getfixturevalue(fixture)
    expected = validation(bundle)
    recipe = find_recipe("SmolLM2-135M")
    assert recipe.expect in expected["answer"] == PARIS
    assert expected["prompt"] == recipe.prompt
    opened = open_bundle(bundle)
    opened.verify(SilentProgress())
    facts = opened.manifest.model
    assert (facts.parameters, facts.layers, facts.licence) == (134_515_008, 30, "Apache-2.0")
    assert expected["greedy"][-1] in opened.manifest.tokenizer.eos_token_ids


@needs_engine
@pytest.mark.sweep
def test_stock_chromium_agrees(q4f32_bundle: Path, chromium: Path) -> None:
    """Prefill and two steps of decoding with a GPU's kernels."""
    expected = validation(q4f32_bundle)
    with open_session(q4f32_bundle, chromium) as session:
        session.load(LoadOptions("subgroups"))
        steps = session.page.call("replay", expected["tokens"], expected["greedy"][:2])["steps"]
    assert len(steps) == 3
    for logits, step, token in zip(steps, expected["steps"], expected["greedy"], strict=False):
        assert max(range(len(logits)), key=logits.__getitem__) == token
        for index, value in step["top"]:
            assert abs(logits[index] - value) <= expected["tolerance"]["float32"] * step["range"]


@needs_engine
@pytest.mark.parametrize("fixture", ["gguf_bundle", pytest.param("q4f32_bundle", marks=pytest.mark.sweep)])
def test_validate_passes_on_stock_chromium(
    fixture: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle: Path = request.getfixturevalue(fixture)
    assert run(["validate", str(bundle), "--tier", "software", "--format", "json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["bundles"][0]["tiers"]
    assert report["passed"] is True and report["answer"] == PARIS
    assert report["tokens"] == report["expected"] == validation(bundle)["greedy"]


@needs_engine
@pytest.mark.sweep
@pytest.mark.parametrize("fixture", ["gguf_bundle", "q4f16_bundle"])
def test_validate_passes_with_shader_f16(
    fixture: str,
    request: pytest.FixtureRequest,
    f16_chromium: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLCWEB_CHROMIUM", str(f16_chromium))
    bundle: Path = request.getfixturevalue(fixture)
    assert run(["validate", str(bundle), "--tier", "f16-subgroups", "--format", "json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["bundles"][0]["tiers"]
    assert report["tier"] == "f16-subgroups"
    assert report["passed"] is True and report["answer"] == PARIS
    assert report["tokens"] == report["expected"] == validation(bundle)["greedy"]


@needs_engine
def test_chat_names_paris(
    gguf_bundle: Path,
    f16_chromium: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLCWEB_CHROMIUM", str(f16_chromium))
    assert run(["chat", str(gguf_bundle), "What is the capital of France?", "--temperature", "0"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == PARIS
    assert "tok/s" in said.err
