"""Every architecture on the host against transformers' logits, its checkpoint packed as a bundle has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlcweb.models import architecture, outline_of
from mlcweb.quantize import get_scheme, quantize_params
from mlcweb.reference import ArrayStore, HostModel, PackedWeights
from mlcweb.sources import open_checkpoint, require, with_prefix
from tests.fixtures.models.case import CONTEXT, PROMPT, SCHEMES, Case
from tests.fixtures.models.cases import CASES
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.fixtures.models.expected import load


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_logits_at_every_position(case: Case, scheme: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(make_checkpoint(tmp_path, case)))
    config_class, model_class = architecture(checkpoint.config)
    config = config_class.from_hf(checkpoint.config)
    model = outline_of(model_class, config, scheme, CONTEXT)
    checkpoint = with_prefix(checkpoint, model.prefix)
    copies = [model.outline.head] if config.tie_word_embeddings else []
    require(checkpoint, model.shapes(), copies=copies)
    arrays = {
        tensor.name: np.concatenate(list(blocks))
        for tensor, blocks in quantize_params(checkpoint, model.params(), get_scheme(scheme))
    }
    expected = load(case, scheme)
    host = HostModel(model, PackedWeights(ArrayStore(arrays)), CONTEXT, CONTEXT)
    found = [
        host.feed(expected.tokens[: PROMPT - 8]),
        *(host.feed([t]) for t in expected.tokens[PROMPT - 8 :]),
    ]
    wanted = expected.logits[PROMPT - 9 :]
    worst = np.abs(np.stack(found) - wanted).max(axis=1) / np.ptp(wanted, axis=1)
    assert worst.max() < 1e-4
    assert [int(row.argmax()) for row in found[8:]] == expected.greedy
