"""Sizes that metadata claims and no tensor has: they meet the tensors before anything of that size is made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from gguf import GGMLQuantizationType as Kind

from mlcweb.errors import CheckpointError
from mlcweb.sources.gguf.families import build_config, build_tensors, find_family
from mlcweb.sources.gguf.file import GgufTensor
from tests.support.gguf_metadata import metadata_of


@pytest.mark.parametrize(
    ("name", "tensor", "shape", "keys"),
    [
        (
            "llama",
            "attn_q.weight",
            (256, 256),
            {"attention__head_count": 1 << 40, "attention__key_length": 64},
        ),
        ("llama", "attn_k.weight", (256, 256), {"attention__key_length": 1 << 40}),
        ("gptneox", "attn_qkv.weight", (768, 256), {"attention__key_length": 1 << 40}),
        ("phi2", "attn_qkv.weight", (768, 256), {"attention__head_count_kv": 1 << 40}),
        ("stablelm", "attn_q_norm.weight", (5, 64), {}),
        ("stablelm", "attn_k_norm.weight", (4,), {}),
        ("llama", "ffn_up_exps.weight", (8, 4, 4), {"expert_count": 1 << 40, "expert_used_count": 2}),
    ],
)
def test_absurd_sizes_are_refused(
    name: str, tensor: str, shape: tuple[int, ...], keys: dict[str, Any]
) -> None:
    m = metadata_of(name, **keys)
    actual = GgufTensor(Path("x.gguf"), f"blk.0.{tensor}", shape, Kind.F32, 0, 0)
    family = find_family(m)
    file = dataclasses.replace(m.file, tensors={**m.file.tensors, actual.name: actual})
    with pytest.raises(CheckpointError, match=rf"x\.gguf: blk\.0\.{tensor} has"):
        build_tensors(file, family, build_config(m, family))


def test_rope_factors_are_one_after_another() -> None:
    m = metadata_of("llama")
    factors = GgufTensor(Path("x.gguf"), "rope_freqs.weight", (4, 8), Kind.F32, 0, 128)
    m.file.tensors[factors.name] = factors
    with pytest.raises(CheckpointError, match=r"rope_freqs\.weight has the shape \[4, 8\]"):
        build_config(m, find_family(m))
