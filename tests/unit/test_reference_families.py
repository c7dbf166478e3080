"""Every architecture on the host against transformers' logits, its checkpoint packed as a bundle has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlcweb.sources import open_checkpoint
from tests.fixtures.models.case import PROMPT, SCHEMES, Case
from tests.fixtures.models.cases import CASES
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.fixtures.models.expected import load
from tests.fixtures.models.host import feed

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_logits_at_every_position(case: Case, scheme: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(make_checkpoint(tmp_path, case)), images=False)
    expected = load(case, scheme)
    actual = feed(checkpoint, scheme, expected.tokens, PROMPT - 8)
    wanted = expected.logits[PROMPT - 9 :]
    worst = np.abs(actual - wanted).max(axis=1) / np.ptp(wanted, axis=1)
    assert worst.max() < 1e-4
    assert [int(row.argmax()) for row in actual[8:]] == expected.greedy
