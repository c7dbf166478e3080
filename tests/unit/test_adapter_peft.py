"""What a merged checkpoint reads is what PEFT's merge_and_unload makes (tests/fixtures/adapters/make.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlcweb.compile.adapt import merged
from mlcweb.models import architecture, declare_model
from mlcweb.progress import SilentProgress
from mlcweb.sources import open_checkpoint, require, with_prefix
from mlcweb.sources.safetensors_file import open_safetensors
from tests.fixtures.adapters.cases import ADAPTERS, AdapterCase

FIXTURES = Path(__file__).parent.parent / "fixtures" / "adapters"


@pytest.mark.parametrize("case", ADAPTERS, ids=lambda case: case.name)
def test_merged_weights_are_pefts(case: AdapterCase, tmp_path: Path) -> None:
    base = open_checkpoint(str(case.make_base(tmp_path / "base")))
    config_class, model_class = architecture(base.config)
    model = declare_model(model_class, config_class.from_hf(base.config))
    base = with_prefix(base, model.prefix)
    actual = merged(base, str(FIXTURES / case.name), model, SilentProgress())
    require(actual, model.shapes(), unused=model.unused())
    expected = {
        name: tensor.read()
        for name, (tensor, _) in open_safetensors(FIXTURES / case.name / "merged.safetensors").items()
    }
    changed = {name for name in actual.tensors if actual.tensors[name] is not base.tensors.get(name)}
    assert {
        name for name in changed if np.any(actual.tensors[name].read() != base.tensors[name].read())
    } == set(expected)
    for name, array in expected.items():
        ours = actual.tensors[name].read()
        assert ours.dtype == array.dtype == base.tensors[name].read(slice(0, 1)).dtype, name
        ours, theirs = ours[:: case.kept].astype(np.float32), array.astype(np.float32)
        if array.dtype == np.float32:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-7)
        elif name == model.outline.embed:
            # PEFT rounds an embedding's product before it is added, and the sum again
            np.testing.assert_allclose(ours, theirs, rtol=2**-8, atol=2**-9 * np.abs(theirs).max())
        else:
            # sums in another order may fall on the other side of a rounding
            assert np.mean(ours != theirs) < 1e-3, name
            np.testing.assert_allclose(ours, theirs, rtol=2**-7)
