"""The host's tower for pictures of any shape, and logits after two of them, against transformers' (fixtures/grids)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlcweb.contract.pictures import axes_of, patches_of
from mlcweb.kernels.choice.tier import BASE
from mlcweb.models import architecture
from mlcweb.quantize import get_scheme
from mlcweb.reference.checkpoint_weights import CheckpointWeights
from mlcweb.reference.images import HostImages
from mlcweb.reference.model import HostModel
from mlcweb.sources import open_checkpoint, with_matrices
from tests.fixtures.grids.cases import CASES, CONTEXT, IMAGE_TOKEN, ROWS, STEPS, GridCase
from tests.fixtures.grids.checkpoint import expected, facts_of, make_folder, pictures


def host(case: GridCase, folder: Path) -> tuple[HostImages, HostModel]:
    checkpoint = with_matrices(open_checkpoint(str(make_folder(folder, case))))
    config_class, model_class = architecture(checkpoint.config)
    model = model_class(config_class.from_hf(checkpoint.config), get_scheme("q0f32"), BASE, CONTEXT)
    weights = CheckpointWeights(checkpoint, model.params())
    return HostImages(model, weights), HostModel(model, weights, CONTEXT, CONTEXT)


def rows_of(case: GridCase, images: HostImages) -> np.ndarray:
    facts = facts_of(case)
    seen = []
    for picture in pictures(case):
        height, width, _ = picture.shape
        size = (height // facts.patch, width // facts.patch)
        seen.append(images.rows(patches_of(picture, facts), size))
    return np.concatenate(seen)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rows_and_logits_are_transformers(case: GridCase, tmp_path: Path) -> None:
    fixture = expected(case)
    images, model = host(case, tmp_path)
    rows = rows_of(case, images)
    assert rows.shape == fixture.rows.shape
    assert np.abs(rows - fixture.rows).max() < 2e-5 * np.abs(fixture.rows).max()
    given = fixture.tokens[:-1]
    places = np.array(given) == IMAGE_TOKEN
    tokens = np.where(places, -1, given).tolist()
    seen = np.zeros((len(tokens), rows.shape[1]), np.float32)
    seen[places] = rows
    prompt = len(tokens) + 1 - STEPS
    axes = axes_of(given[:prompt], IMAGE_TOKEN, ROWS)
    after_each = [model.feed_each(tokens[:prompt], seen[:prompt], axes)]
    # the model goes on by itself where the pictures' places leave it
    after_each += [model.feed_each([token]) for token in tokens[prompt:]]
    logits = np.concatenate(after_each)
    spread = np.ptp(fixture.logits, axis=1)
    assert (np.abs(logits - fixture.logits).max(axis=1) / spread).max() < 2e-5
