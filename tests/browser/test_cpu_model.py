"""Whole models on the CPU tier, in a page and without a GPU, against the host reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choice.tier import WASM, WASM_RELAXED, Tier
from mlcweb.kernels.ops.entries import entry_points
from mlcweb.lower import lower_entries
from mlcweb.models import architecture
from mlcweb.plan import build_plan
from mlcweb.quantize import get_scheme
from mlcweb.quantize.stream import quantize_params
from mlcweb.reference import ArrayStore, HostModel, PackedWeights
from mlcweb.sources import open_checkpoint, require, with_matrices, with_prefix
from tests.fixtures.models.case import CHUNK, CONTEXT, Case
from tests.fixtures.models.cases import BY_NAME, CASES
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.support.browser.cpu_model import CpuModel

STEPS = 4


def answers(
    page: Any, folder: Path, case: Case, quantization: str, tier: Tier
) -> tuple[np.ndarray, np.ndarray]:
    """Logits after each chunk of the prompt and after each of some tokens: found, and expected."""
    scheme, checkpoint = (
        get_scheme(quantization),
        open_checkpoint(str(make_checkpoint(folder, case)), images=False),
    )
    config_class, model_class = architecture(checkpoint.config)
    config = config_class.from_hf(checkpoint.config)
    model = model_class(config, scheme, tier, CONTEXT)
    checkpoint = with_matrices(with_prefix(checkpoint, model.prefix))
    require(checkpoint, model.shapes(), unused=model.unused())
    arrays = {
        tensor.name: np.concatenate(list(blocks))
        for tensor, blocks in quantize_params(checkpoint, model.params(), scheme)
    }
    points = entry_points(scheme, tier)
    entries = lower_entries(model, tier, points, vocab=config.vocab_size, context=CONTEXT, chunk=CHUNK)
    cpu = CpuModel(page, entries, build_plan(entries, tier), {**arrays, **model.constants()})
    host = HostModel(model, PackedWeights(ArrayStore(arrays), scheme.formats), CONTEXT, CONTEXT)
    prompt, found, expected = case.prompt(), [], []
    for tokens in (
        prompt[:CHUNK],
        prompt[CHUNK : 2 * CHUNK],
        *([token] for token in prompt[2 * CHUNK :][:STEPS]),
    ):
        found.append(cpu.feed(tokens))
        expected.append(host.feed(tokens, int8=scheme.quantizes, int8_head=True))
    return np.stack(found), np.stack(expected)


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the range of its position's logits."""
    return float((np.abs(found - expected).max(1) / np.ptp(expected, axis=1)).max())


def firsts() -> Iterator[str]:
    """The first case of every architecture."""
    seen = set()
    for case in CASES:
        if case.text_architecture not in seen:
            seen.add(case.text_architecture)
            yield case.name


@pytest.mark.parametrize("name", [*firsts(), "mistral-v0.1", "gemma-4-e4b", "qwen3.5"])
def test_floats(name: str, gpu_page: Any, tmp_path: Path) -> None:
    assert worst(*answers(gpu_page, tmp_path, BY_NAME[name], "q0f32", WASM)) < 5e-5


@pytest.mark.parametrize("tier", [WASM, WASM_RELAXED], ids=["simd", "relaxed"])
@pytest.mark.parametrize(
    ("name", "scheme"),
    [("phi-2", "q4f32_1"), ("phi-2", "q8f32_1"), ("gpt2", "q4f32_1")],
)
def test_int8_activations(name: str, scheme: str, tier: Tier, gpu_page: Any, tmp_path: Path) -> None:
    """Of these no activation lies so near the middle of two codes that it is rounded otherwise than on the host."""
    assert worst(*answers(gpu_page, tmp_path, BY_NAME[name], scheme, tier)) < 2e-6


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("qwen3", "q4f32_1"),
        ("smollm2", "q4f16_1"),
        ("smollm2", "q4f16_2"),
        ("smollm2", "q3f16_1"),
        ("smollm2", "q4f32_e8"),
    ],
)
def test_other_schemes(name: str, scheme: str, gpu_page: Any, tmp_path: Path) -> None:
    """Where one is, on this host or another, logits of a model this small move by a hundredth of their range."""
    assert worst(*answers(gpu_page, tmp_path, BY_NAME[name], scheme, WASM_RELAXED)) < 0.04


@pytest.mark.parametrize("name", ["mixtral", "gpt-oss-mxfp4"])
def test_experts(name: str, gpu_page: Any, tmp_path: Path) -> None:
    """What ``down`` takes is rounded too, which the host reference does not."""
    assert worst(*answers(gpu_page, tmp_path, BY_NAME[name], "q4f32_1", WASM_RELAXED)) < 0.04
