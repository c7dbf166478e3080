"""Models of whole texts on the host against transformers: encoders, decoders, what is pooled, products, scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlcweb.compile.decide import decide
from mlcweb.compile.job import Job
from mlcweb.compile.request import CompileRequest
from mlcweb.models.parts.text_head import TextTask
from mlcweb.progress import SilentProgress
from mlcweb.reference.checkpoint_weights import CheckpointWeights
from mlcweb.reference.texts import HostTexts, TokenizedText
from tests.fixtures.texts.cases import CASES, CONTEXT, TextCase
from tests.fixtures.texts.checkpoint import expected, make_folder

pytestmark = pytest.mark.slow


def job_of(case: TextCase, folder: Path) -> Job:
    """The case's job; of a reranker by a head's rows, whose tokenizer has no "yes", with the case's rows."""
    task = "embed" if case.rows else None
    if case.rows:
        case = replace(case, modules=("lasttoken", (), True))
    request = CompileRequest(str(make_folder(folder, case)), "q0f32", task=task)
    return decide(request, SilentProgress())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outputs(case: TextCase, tmp_path: Path) -> None:
    job = job_of(case, tmp_path)
    assert job.texts is not None and (job.context == CONTEXT or not case.modules)
    task = TextTask("score", "last", rows=case.rows) if case.rows else job.texts.task
    model = job.model_class(job.config, job.scheme, job.tiers[-1], CONTEXT, texts=task)
    host = HostTexts(model, CheckpointWeights(job.checkpoint, model.params()), CONTEXT)
    for tokens, kinds, wanted in zip(case.texts(), case.kinds(), expected(case).outputs, strict=True):
        actual = host.output(TokenizedText(tokens, kinds))
        assert actual.shape == wanted.shape
        assert np.linalg.norm(actual - wanted) < 1e-5 * max(np.linalg.norm(wanted), 1)
