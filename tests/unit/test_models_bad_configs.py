"""Configs that contradict themselves, or ask for what no kernel does, are refused with the key's name."""

from __future__ import annotations

from typing import Any

import pytest

from mlcweb.errors import CheckpointError, MlcwebError, UnsupportedError
from mlcweb.models import architecture
from tests.fixtures.models.cases import BY_NAME

CONTRADICTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers"),
    ("smollm3", {"no_rope_layers": [1, 1, 1, 2]}, "no_rope_layers"),
    ("smollm3", {"no_rope_layers": "every fourth"}, "no_rope_layers"),
    ("smollm3", {"no_rope_layers": None, "no_rope_layer_interval": 0}, "no_rope_layer_interval"),
    ("smollm3", {"layer_types": ["full_attention"]}, "layer_types"),
]
UNSUPPORTED: list[tuple[str, dict[str, Any], str]] = [
    ("smollm3", {"layer_types": ["linear_attention"] * 4}, "linear_attention"),
]


def refused(case: str, changes: dict[str, Any], kind: type[MlcwebError], key: str) -> None:
    config = {**BY_NAME[case].config, **changes}
    with pytest.raises(kind, match=key):
        architecture(config)[0].from_hf(config)


@pytest.mark.parametrize(("case", "changes", "key"), CONTRADICTIONS, ids=str)
def test_a_contradiction_is_bad_input(case: str, changes: dict[str, Any], key: str) -> None:
    refused(case, changes, CheckpointError, key)


@pytest.mark.parametrize(("case", "changes", "key"), UNSUPPORTED, ids=str)
def test_what_no_kernel_does_is_unsupported(case: str, changes: dict[str, Any], key: str) -> None:
    refused(case, changes, UnsupportedError, key)
