"""RoPE's frequencies against transformers' (tests/fixtures/models/rope.json), and heads of which a part turns."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlcweb.models.parts.rope import RopeSettings
from tests.fixtures.models.rope import FILE

ENTRIES = json.loads(FILE.read_text())


@pytest.mark.parametrize("name", ENTRIES)
def test_frequencies_are_those_of_transformers(name: str) -> None:
    entry = ENTRIES[name]
    config = entry["config"]
    settings = RopeSettings.from_hf(config, config["head_dim"], config["max_position_embeddings"])
    frequencies, factor = settings.frequencies(entry["tokens"])
    np.testing.assert_allclose(frequencies, entry["inverse_frequencies"], rtol=3e-6)
    assert factor == pytest.approx(entry["attention_factor"], rel=1e-6)


@pytest.mark.parametrize(
    ("scaling", "longest_context"),
    [
        (None, 1000),
        ({"type": "linear", "factor": 4.0}, 4000),
        ({"type": "dynamic", "factor": 2.0}, 2000),
        ({"type": "yarn", "factor": 4.0}, 4000),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 250}, 1000),
        ({"type": "yarn", "factor": 8.0, "original_max_position_embeddings": 250}, 2000),
    ],
    ids=str,
)
def test_how_far_a_scaling_reaches(scaling: dict[str, object] | None, longest_context: int) -> None:
    assert RopeSettings(64, 64, 1e4, scaling, 1000).longest_context == longest_context


@pytest.mark.parametrize(("head_dim", "dims"), [(64, 64), (64, 16), (80, 20), (64, 0)])
def test_turning_whole_heads_in_another_order_is_turning_a_part(head_dim: int, dims: int) -> None:
    settings = RopeSettings(head_dim, dims, 100.0, {"rope_type": "linear", "factor": 2.0}, 64)
    if not dims:
        settings = RopeSettings.none(head_dim)
    rng = np.random.default_rng(dims)
    query, key = rng.standard_normal((2, head_dim))
    frequencies, factors = settings.pair_frequencies(64)
    assert len(frequencies) == len(factors) == head_dim // 2

    def whole(vector: np.ndarray, position: int) -> np.ndarray:
        low, high = np.split(vector[settings.head_order()], 2)
        cos, sin = factors * np.cos(position * frequencies), factors * np.sin(position * frequencies)
        return np.concatenate([low * cos - high * sin, high * cos + low * sin])

    def part(vector: np.ndarray, position: int) -> np.ndarray:
        angles = position * settings.frequencies(64)[0]
        low, high = np.split(vector[:dims], 2)
        turned = [low * np.cos(angles) - high * np.sin(angles), high * np.cos(angles) + low * np.sin(angles)]
        return np.concatenate([*turned, vector[dims:]])

    for i, j in ((3, 7), (0, 40)):
        assert whole(query, i) @ whole(key, j) == pytest.approx(part(query, i) @ part(key, j))
