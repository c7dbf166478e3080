"""Gemma 4's config: what missing keys mean, which layers read another's keys and values, and what that leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcweb.footprint import footprints
from mlcweb.models import declare_model
from mlcweb.models.families.gemma.gemma4 import Gemma4, Gemma4Config
from mlcweb.quantize import get_scheme
from mlcweb.recipes import find_recipe
from mlcweb.sources import open_checkpoint, require
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.checkpoint import make_checkpoint, weights

CASE = BY_NAME["gemma-4-e2b"]


def config(**changes: Any) -> Gemma4Config:
    values = {**CASE.config, **changes}
    return Gemma4Config.from_hf({key: value for key, value in values.items() if value is not ...})


def test_missing_values_take_transformers_defaults() -> None:
    missing = dict.fromkeys(("layer_types", "num_kv_shared_layers", "rope_parameters", "sliding_window"), ...)
    missing |= dict.fromkeys(
        ("head_dim", "global_head_dim", "num_key_value_heads", "use_double_wide_mlp"), ...
    )
    missing |= {"final_logit_softcapping": ..., "vocab_size_per_layer_input": ..., "num_hidden_layers": 12}
    actual = config(**missing)
    assert actual.sliding == (*[True] * 5, False) * 2
    assert actual.source == tuple(range(12))
    assert (actual.head_dim, actual.global_head_dim, actual.num_key_value_heads) == (256, 512, 4)
    assert (actual.window, actual.wide, actual.cap, actual.per_layer_rows) == (512, False, None, 262144)
    whole, local = actual.ropes
    assert (whole.kind, whole.theta, local.kind, local.theta) == ("proportional", 1e6, "default", 1e4)
    assert np.count_nonzero(whole.frequencies(64)[0]) == 512 // 2 // 4


def test_the_last_layer_sees_everything() -> None:
    assert config(layer_types=["sliding_attention"] * 6, num_kv_shared_layers=0).sliding == (
        *[True] * 5,
        False,
    )


def test_layers_read_the_last_of_their_kind_that_has_keys() -> None:
    e2b, e4b = (
        Gemma4Config.from_hf(find_recipe(f"gemma-4-{size}-it").config).source for size in ("E2B", "E4B")
    )
    assert e2b == (*range(15), *([13, 13, 13, 13, 14] * 4))
    assert e4b == (*range(24), *([22, 22, 22, 22, 22, 23] * 3))


def test_a_cache_is_counted_once() -> None:
    recipe = find_recipe("gemma-4-E2B-it")
    found = footprints(recipe.config, [get_scheme("q4f16_1")], 4096)["q4f16_1"]
    assert found.kv_cache == 4096 * 2 * 2 * (12 * 256 + 3 * 512)  # keys and values, of two bytes


@pytest.mark.parametrize("per_layer", [32, 0])
def test_a_model_may_have_no_embeddings_of_layers(per_layer: int) -> None:
    shapes = declare_model(Gemma4, config(hidden_size_per_layer_input=per_layer)).shapes()
    assert any("per_layer" in name for name in shapes) is (per_layer > 0)


def test_projections_that_nobody_uses_may_be_there(tmp_path: Path) -> None:
    """Published checkpoints have them."""
    tensors = weights(CASE)
    for name, rows in (("k_proj", 32), ("v_proj", 32)):
        tensors[f"model.layers.4.self_attn.{name}.weight"] = np.zeros((rows, 96), np.float16)
    tensors["model.layers.4.self_attn.k_norm.weight"] = np.zeros(32, np.float16)
    checkpoint = open_checkpoint(str(make_checkpoint(tmp_path, CASE, tensors)))
    model = declare_model(Gemma4, Gemma4Config.from_hf(checkpoint.config))
    require(checkpoint, model.shapes(), unused=model.unused())
