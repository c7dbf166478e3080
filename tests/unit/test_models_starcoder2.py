"""StarCoder2's config: what missing keys mean, which tensors its biases are, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.models import declare_model
from mlcweb.models.families.gpt.starcoder2 import Starcoder2, Starcoder2Config
from tests.fixtures.models.cases import BY_NAME


def config(**changes: Any) -> Starcoder2Config:
    values = {**BY_NAME["starcoder2"].config, **changes}
    return Starcoder2Config.from_hf({key: value for key, value in values.items() if value is not ...})


def test_missing_values_take_transformers_defaults() -> None:
    actual = config(use_bias=..., sliding_window=..., norm_epsilon=..., rope_theta=..., hidden_act=...)
    assert (actual.bias, actual.window, actual.norm_eps) == (True, None, 1e-5)
    assert actual.ropes[0].theta == 10000.0
    assert actual.tie_word_embeddings


def test_biases_without_use_bias_are_the_norms_alone() -> None:
    names = {bias: declare_model(Starcoder2, config(use_bias=bias)).shapes() for bias in (True, False)}
    biases = {name for name in names[False] if name.endswith(".bias")}
    assert all("norm" in name for name in biases) and len(biases) == 2 * 2 + 1
    assert set(names[False]) < set(names[True])
    assert len([name for name in names[True] if name.endswith(".bias")]) == len(biases) + 2 * 6


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"hidden_act": "gelu"}, UnsupportedError),
        ({"use_bias": "yes"}, CheckpointError),
        ({"sliding_window": 0}, CheckpointError),
        ({"norm_epsilon": -1e-5}, CheckpointError),
        ({"num_key_value_heads": 3}, CheckpointError),
        ({"hidden_size": 160, "num_attention_heads": 4}, UnsupportedError),
    ],
    ids=str,
)
def test_odd_configs(changes: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        config(**changes)
