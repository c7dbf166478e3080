"""Mixtral's config, and how its experts' matrices are stacked."""

from __future__ import annotations

from typing import Any

import pytest

from mlcweb.errors import CheckpointError, MlcwebError, UnsupportedError
from mlcweb.models import architecture, declare_model
from mlcweb.models.families.llama.mixtral import Mixtral, MixtralConfig
from mlcweb.quantize import get_scheme, packed_tensors
from tests.fixtures.models.cases import CASES

TINY = next(case for case in CASES if case.name == "mixtral").config
# Mixtral-8x7B's
REAL = {
    **TINY,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32768,
    "vocab_size": 32000,
    "rope_theta": 1e6,
}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"num_local_experts": None}, CheckpointError),
        ({"num_experts_per_tok": 0}, CheckpointError),
        ({"num_experts_per_tok": 9}, CheckpointError),
        ({"num_local_experts": 513}, UnsupportedError),
        ({"hidden_act": "gelu"}, UnsupportedError),
        ({"intermediate_size": 98}, UnsupportedError),
    ],
    ids=str,
)
def test_odd_configs(changes: dict[str, Any], kind: type[MlcwebError]) -> None:
    with pytest.raises(kind, match=next(iter(changes))):
        MixtralConfig.from_hf({**TINY, **changes})


def test_experts_lie_in_parts_that_a_default_binding_holds() -> None:
    assert architecture(REAL) == (MixtralConfig, Mixtral)
    model = declare_model(Mixtral, MixtralConfig.from_hf(REAL), "q4f16_1")
    assert model.weight_count == 46_702_792_704
    params = {param.name: param for param in model.params()}
    largest = max(t.nbytes for param in params.values() for t in packed_tensors(param, get_scheme("q4f16_1")))
    assert largest <= 128 << 20
    mlp, source = "model.layers.31.mlp", "model.layers.31.block_sparse_moe"
    parts = {name for name in params if name.startswith(mlp)}
    assert parts == {
        f"{mlp}.gate",
        *(f"{mlp}.gate_up_proj.{i}" for i in range(4)),
        *(f"{mlp}.down_proj.{i}" for i in range(2)),
    }
    assert not params[f"{mlp}.gate"].quantized
    assert params[f"{mlp}.gate_up_proj.3"].sources == tuple(
        f"{source}.experts.{e}.w{i}.weight" for e in (6, 7) for i in (1, 3)
    )
    assert params[f"{mlp}.gate_up_proj.3"].shape == (4 * 14336, 4096)
    assert params[f"{mlp}.down_proj.1"].sources == tuple(
        f"{source}.experts.{e}.w2.weight" for e in (4, 5, 6, 7)
    )
