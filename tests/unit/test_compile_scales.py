"""How a bundle's scales are chosen, from the request to the manifest and the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcweb.bundle import Manifest, open_bundle
from mlcweb.cli import main
from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.progress import SilentProgress
from mlcweb.quantize import get_scheme
from mlcweb.quantize.unpack import unpack
from mlcweb.sources import open_checkpoint
from tests.support.tiny import TinyLlama, make_llama

pytestmark = pytest.mark.slow

DOWN = "model.layers.0.mlp.down_proj"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "small", TinyLlama(layers=1))


def compiled(model: Path, out: Path, **options: Any) -> tuple[Manifest, dict[str, float]]:
    options = {"quantization": "q4f32_1", "tiers": ("base",), "context_length": 128, **options}
    result = compile_bundle(CompileRequest(str(model), out_dir=out, **options), SilentProgress())
    return open_bundle(out).manifest, result.stages


def error(model: Path, out: Path) -> float:
    """Squared error of a matrix."""
    stored = open_bundle(out).stored_weights()
    form = get_scheme("q4f32_1").format
    arrays = [stored.rows(f"{DOWN}.{kind}", 0, 64) for kind in form.tensors]
    weight = open_checkpoint(str(model)).tensors[f"{DOWN}.weight"].read().astype(np.float32)
    return float(np.square(unpack(arrays, form)[:, : weight.shape[1]] - weight).sum())


def test_calibrated_is_the_default_and_says_so(model: Path, tmp_path: Path) -> None:
    manifest, stages = compiled(model, tmp_path / "ours")
    assert manifest.model.scales == "calibrated" and "calibrate" in stages
    again, _ = compiled(model, tmp_path / "again", scales="calibrated")
    assert again.weights == manifest.weights and again.inputs == manifest.inputs
    mlc, stages = compiled(model, tmp_path / "mlc", scales="mlc")
    assert mlc.model.scales == "mlc" and "calibrate" not in stages
    assert mlc.inputs != manifest.inputs
    assert error(model, tmp_path / "ours") < 0.85 * error(model, tmp_path / "mlc")


def test_another_text_makes_another_bundle(model: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog. " * 30)
    own, _ = compiled(model, tmp_path / "own")
    given, _ = compiled(model, tmp_path / "own", calibrate=text)
    assert given.inputs != own.inputs and given.weights.chunks != own.weights.chunks


@pytest.mark.parametrize(
    ("scheme", "scales"),
    [("q8f32_1", "mlc"), ("q0f32", None), ("q3f32_1", "calibrated"), ("q4f32_e8", "calibrated")],
)
def test_schemes_differ(model: Path, tmp_path: Path, scheme: str, scales: str | None) -> None:
    manifest, _ = compiled(model, tmp_path / "out", quantization=scheme)
    assert manifest.model.scales == scales
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_the_command_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "short.txt"
    text.write_text("Too short.")
    arguments = [
        "compile",
        str(model),
        "--quant",
        "q4f32_1",
        "--out",
        str(tmp_path / "out"),
        "--tier",
        "base",
    ]
    assert main([*arguments, "--calibrate", str(text)]) == 1
    assert "a calibration needs 256" in capsys.readouterr().err
    assert main([*arguments, "--scales", "best"]) == 2
    assert main([*arguments, "--scales", "mlc", "--context", "128"]) == 0
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "out")]) == 0
    assert "q4f32_1 with mlc scales" in capsys.readouterr().out
