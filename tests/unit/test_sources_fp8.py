"""Checkpoints of 8-bit floats: what their weights are, row by row, and scales that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from mlcweb.errors import CheckpointError
from mlcweb.models import architecture, declare_model
from mlcweb.sources import open_checkpoint, require
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.checkpoint import Tensors, make_checkpoint, text_weights, weights

CASE = BY_NAME["ministral-3"]
NAME = "model.layers.0.mlp.down_proj"
STORED = f"language_model.{NAME}"


def rounded(blocks: tuple[int, int] | None) -> Tensors:
    """The case's weights, those of its layers' products with 8 bits, and a scale for each block, or for all."""
    tensors: Tensors = {}
    for name, tensor in weights(CASE).items():
        if ".layers." not in name or not name.startswith("language_model.") or tensor.ndim != 2:
            tensors[name] = tensor
            continue
        rows, columns = blocks or tensor.shape
        counts = -(-tensor.shape[0] // rows), -(-tensor.shape[1] // columns)
        scale = np.random.default_rng(len(name)).uniform(1e-3, 4e-3, counts).astype(np.float32)
        wide = np.repeat(np.repeat(scale, rows, 0), columns, 1)[: tensor.shape[0], : tensor.shape[1]]
        tensors[name] = (tensor.astype(np.float32) / wide).clip(-448, 448).astype(ml_dtypes.float8_e4m3fn)
        tensors[f"{name}_scale_inv"] = scale if blocks else scale.reshape(()).astype(ml_dtypes.bfloat16)
        if blocks is None:
            tensors[f"{name.removesuffix('.weight')}.activation_scale"] = np.array(0.5, ml_dtypes.bfloat16)
    return tensors


def write(folder: Path, tensors: Tensors) -> Path:
    path = make_checkpoint(folder, CASE, tensors)
    config = json.loads((path / "config.json").read_text())
    config["quantization_config"] = {"activation_scheme": "static", "quant_method": "fp8"}
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("blocks", [None, (32, 64), (128, 128)])
def test_weights_are_codes_times_scales(blocks: tuple[int, int] | None, tmp_path: Path) -> None:
    tensors = rounded(blocks)
    checkpoint = open_checkpoint(str(write(tmp_path, tensors)))
    config_class, model_class = architecture(checkpoint.config)
    require(checkpoint, declare_model(model_class, config_class.from_hf(checkpoint.config)).shapes())
    assert set(checkpoint.tensors) == set(text_weights(CASE))
    codes, scale = tensors[f"{STORED}.weight"], tensors[f"{STORED}.weight_scale_inv"].astype(np.float32)
    rows, columns = blocks or codes.shape
    expected = np.array(
        [
            [float(codes[i, j]) * scale.reshape(-(-codes.shape[0] // rows), -1)[i // rows, j // columns]
             for j in range(codes.shape[1])]
            for i in range(codes.shape[0])
        ],
        np.float32,
    )  # fmt: skip
    tensor = checkpoint.tensors[f"{NAME}.weight"]
    assert tensor.dtype == "float32"
    np.testing.assert_array_equal(tensor.read(), expected, strict=True)
    np.testing.assert_array_equal(tensor.read(slice(31, 70)), expected[31:70], strict=True)
    assert tensor.read(slice(5, 5)).shape == (0, expected.shape[1])


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (None, "has 8 bits, and no scale beside it"),
        (np.ones((4, 300), np.float32), r"has the shape \[4, 300\], which does not fit"),
        (np.ones(2, np.float32), r"has the shape \[2\], which does not fit"),
    ],
    ids=str,
)
def test_scales_that_do_not_fit(scale: np.ndarray | None, message: str, tmp_path: Path) -> None:
    tensors = rounded(None)
    del tensors[f"{STORED}.weight_scale_inv"]
    if scale is not None:
        tensors[f"{STORED}.weight_scale_inv"] = scale
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(str(write(tmp_path, tensors)))


def test_a_scale_that_is_no_number(tmp_path: Path) -> None:
    tensors = rounded(None)
    tensors[f"{STORED}.weight_scale_inv"] = np.array(np.nan, np.float32)
    tensor = open_checkpoint(str(write(tmp_path, tensors))).tensors[f"{NAME}.weight"]
    with pytest.raises(CheckpointError, match="a scale that is no number"):
        tensor.read()
