"""The host's vision tower, and logits after a picture, against transformers' (tests/fixtures/images)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlcweb.contract.pictures import patches_of
from mlcweb.kernels.choice.tier import BASE
from mlcweb.models import architecture
from mlcweb.quantize import get_scheme
from mlcweb.reference.checkpoint_weights import CheckpointWeights
from mlcweb.reference.images import HostImages
from mlcweb.reference.model import HostModel
from mlcweb.sources import open_checkpoint, with_matrices
from tests.fixtures.images.cases import CASES, CONTEXT, ImageCase
from tests.fixtures.images.checkpoint import expected, facts_of, make_folder, tiles
from tests.fixtures.images.kinds import IMAGE_TOKEN


def host(case: ImageCase, folder: Path) -> tuple[HostImages, HostModel]:
    checkpoint = with_matrices(open_checkpoint(str(make_folder(folder, case))))
    config_class, model_class = architecture(checkpoint.config)
    model = model_class(config_class.from_hf(checkpoint.config), get_scheme("q0f32"), BASE, CONTEXT)
    weights = CheckpointWeights(checkpoint, model.params())
    return HostImages(model, weights), HostModel(model, weights, CONTEXT, CONTEXT)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rows_and_logits_are_transformers(case: ImageCase, tmp_path: Path) -> None:
    fixture, facts = expected(case), facts_of(case)
    images, model = host(case, tmp_path)
    rows = np.stack([images.rows(patches_of(tile, facts)) for tile in tiles(case)])
    assert rows.shape == fixture.rows.shape
    assert np.abs(rows - fixture.rows).max() < 2e-5 * np.abs(fixture.rows).max()
    places = np.array(fixture.tokens[:-1]) == IMAGE_TOKEN
    tokens = np.where(places, -1, fixture.tokens[:-1]).tolist()
    seen = np.zeros((len(tokens), rows.shape[2]), np.float32)
    seen[places] = rows.reshape(-1, rows.shape[2])
    logits = model.feed_each(tokens, seen)
    spread = np.ptp(fixture.logits, axis=1)
    assert (np.abs(logits - fixture.logits).max(axis=1) / spread).max() < 2e-5
