"""Experts that a checkpoint stacks in one tensor: what each one's matrices are, row by row, as floats and as MXFP4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlcweb.compile.keep import keep_file_types
from mlcweb.errors import CheckpointError
from mlcweb.models import architecture, declare_model
from mlcweb.progress import SilentProgress
from mlcweb.quantize.stream import quantize_params
from mlcweb.quantize.unpack import unpack
from mlcweb.sources import Checkpoint, open_checkpoint, require
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.checkpoint import Tensors, make_checkpoint, weights
from tests.fixtures.models.stacks import packed, separate

STACK = "model.layers.1.mlp.experts.gate_up_proj"


def opened(folder: Path, name: str, tensors: Tensors | None = None) -> Checkpoint:
    return open_checkpoint(str(make_checkpoint(folder, BY_NAME[name], tensors)))


@pytest.mark.parametrize("name", ["gpt-oss", "gpt-oss-mxfp4"])
def test_each_expert_has_its_matrices_and_biases(name: str, tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, name)
    config_class, model_class = architecture(checkpoint.config)
    require(checkpoint, declare_model(model_class, config_class.from_hf(checkpoint.config)).shapes())
    expected = separate(weights(BY_NAME[name]))
    assert set(checkpoint.tensors) == set(expected)
    for key, array in expected.items():
        tensor, rows = checkpoint.tensors[key], array.shape[0]
        assert tensor.shape == array.shape
        for part in (slice(None), slice(0, 1), slice(rows // 3, rows // 2 + 1), slice(3, 3)):
            actual = tensor.read(part).astype(np.float32)
            np.testing.assert_array_equal(actual, array[part].astype(np.float32), err_msg=f"{key} {part}")


def test_codes_of_mxfp4_are_kept(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, "gpt-oss-mxfp4")
    config_class, model_class = architecture(checkpoint.config)
    model = declare_model(model_class, config_class.from_hf(checkpoint.config))
    kept, scheme = keep_file_types(checkpoint, model, SilentProgress())
    name = "model.layers.0.mlp.down_proj"
    param = next(param for param in model.params() if param.name.startswith(name))
    assert scheme.stored(param.sources[0]).name == "mxfp4"  # type: ignore[union-attr]
    arrays = [np.concatenate(list(rows)) for _, rows in quantize_params(kept, [param], scheme)]
    values = unpack(arrays, scheme.stored(param.sources[0]))  # type: ignore[arg-type]
    expected = np.concatenate([separate(weights(BY_NAME["gpt-oss-mxfp4"]))[key] for key in param.sources])
    np.testing.assert_array_equal(values[:, : expected.shape[1]], expected.astype(np.float32))
    assert scheme.stored("model.layers.0.self_attn.q_proj.weight").name == "q8_0"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (f"{STACK}_scales", None, "has no .*_scales beside it"),
        (f"{STACK}_blocks", None, "has no .*_blocks beside it"),
        (f"{STACK}_scales", np.ones((8, 128, 2), np.uint8), "does not fit"),
        (f"{STACK}_scales", np.ones((8, 128, 3), np.float32), "does not fit"),
        (f"{STACK}_blocks", np.ones((8, 128, 48), np.uint8), "experts have 4 axes"),
        (f"{STACK}_bias", np.ones(128, np.float32), "experts have 2 axes"),
    ],
    ids=str,
)
def test_stacks_that_do_not_fit_are_refused(
    name: str, change: np.ndarray | None, message: str, tmp_path: Path
) -> None:
    tensors = packed(weights(BY_NAME["gpt-oss-mxfp4"]))
    tensors = {key: array for key, array in tensors.items() if key != name or change is not None}
    tensors |= {} if change is None else {name: change}
    with pytest.raises(CheckpointError, match=message):
        opened(tmp_path, "gpt-oss-mxfp4", tensors)
