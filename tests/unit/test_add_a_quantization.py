"""docs/add-a-quantization.md: its rows, added while this runs, make schemes that pack, lower and compile."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mlcweb.bundle import open_bundle
from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.kernels.choice.choose import has_int8, has_matrix, matmul, matvec
from mlcweb.kernels.choice.tier import BASE, F16_SUBGROUPS, SOFTWARE, Tier
from mlcweb.kernels.layouts.storage import matrix
from mlcweb.kernels.products.matmul_int8 import matmul_int8
from mlcweb.kernels.products.matmul_matrix import matmul_matrix
from mlcweb.kernels.vocabulary.embedding import embed
from mlcweb.lower import lower_kernel
from mlcweb.quantize import Param, Scheme, packed_tensors, schemes
from mlcweb.quantize.group import quantize_group
from mlcweb.quantize.searched import quantize_searched
from mlcweb.quantize.unpack import unpack
from mlcweb.reference import ArrayStore, PackedWeights
from tests.fixtures.models.case import CHUNK, CONTEXT
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.support.pages import ROOT, blocks_of

PAGE = ROOT / "docs" / "add-a-quantization.md"
RNG = np.random.default_rng(5)


def rows() -> dict[str, Scheme]:
    """What the page adds to the registry's rows."""
    (block,) = (block for block in blocks_of(PAGE) if block.language == "python")
    names = dict(vars(schemes))
    exec(block.text, names)
    others, *added = names["ROWS"]
    assert others is ... and added
    return {scheme.name: scheme for scheme in added}


ROWS = rows()


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, scheme in ROWS.items():
        monkeypatch.setitem(schemes.SCHEMES, name, scheme)


def test_the_rows_are_the_pages_alone() -> None:
    assert set(ROWS) == {"q5f16_1", "q5f32_1"}
    assert not set(ROWS) & {scheme.name for scheme in schemes.ROWS}, "the page is about what is there"


def test_nothing_else_asks_for_a_schemes_bits_or_name() -> None:
    """By which it would have to be told of each new one."""
    asks = re.compile(r"""\bbits (==|!=|(not )?in \()|(starts|ends)with\(f?["'](q\d|_[0-2]\b)|scheme\[\d\]""")
    files = [path for part in ("mlcweb", "bench") for path in sorted((ROOT / part).rglob("*.py"))]
    asking = [path.name for path in files if asks.search(path.read_text())]
    assert len(files) > 200 and asking == ["pack.py"]  # the second part of a GGUF record's field


def by_hand(weight: np.ndarray, activation: str) -> tuple[np.ndarray, np.ndarray]:
    """Codes 0 to 30 ``[N, K]`` and scales ``[N, K / 32]`` by the page's rule, in numpy's own arithmetic."""
    groups = weight.astype(activation).reshape(len(weight), -1, 32)
    scales = np.abs(groups).max(-1) / np.dtype(activation).type(15)
    codes = np.rint(groups / scales[..., None] + np.dtype(activation).type(15))
    return np.clip(codes, 0, 30).astype(int).reshape(weight.shape), scales


@pytest.mark.parametrize("name", ROWS)
def test_packing_is_the_rule_in_two_planes(name: str) -> None:
    scheme = ROWS[name]
    weight = RNG.standard_normal((9, 96)).astype(scheme.activation)
    low, high, scales = quantize_group(weight, scheme.format)
    codes, expected = by_hand(weight, scheme.activation)
    np.testing.assert_array_equal(scales, expected)
    for column in range(96):
        nibble = low[:, column // 8] >> np.uint32(4 * (column % 8)) & 15
        bit = high[:, column // 32] >> np.uint32(column % 32) & 1
        np.testing.assert_array_equal(nibble + 16 * bit, codes[:, column])
    values = ((codes - 15).reshape(9, -1, 32) * expected.astype(np.float32)[..., None]).reshape(9, 96)
    np.testing.assert_array_equal(unpack((low, high, scales), scheme.format), values.astype(np.float32))


@pytest.mark.parametrize("name", ROWS)
def test_what_is_stored_is_what_is_declared(name: str) -> None:
    """Of rows that groups do not divide; what pads them has codes 0."""
    scheme, param = ROWS[name], Param("x", (7, 84), (), True)
    weight = RNG.standard_normal(param.shape).astype(np.float32)
    for arrays in (
        quantize_group(weight, scheme.format, cast=True),
        quantize_searched(weight, scheme.format),
    ):
        declared = packed_tensors(param, scheme)
        assert [tensor.name for tensor in declared] == ["x.q_weight", "x.q_weight_high", "x.q_scale"]
        assert [(t.dtype, t.shape) for t in declared] == [(a.dtype.name, a.shape) for a in arrays]
        assert not np.any(arrays[0][:, 11:]) and not np.any(arrays[1][:, 2] >> np.uint32(20))
        assert not np.any(arrays[0][:, 10] >> np.uint32(16))
        step = np.abs(np.repeat(arrays[2].astype(np.float32), 32, axis=1))[:, :84]
        assert np.all(np.abs(unpack(arrays, scheme.format)[:, :84] - weight) <= step)


@pytest.mark.parametrize("tokens", [1, 5])
def test_the_reference_multiplies_it(tokens: int) -> None:
    scheme = ROWS["q5f32_1"]
    weight, x = (RNG.standard_normal(shape).astype(np.float32) for shape in ((6, 96), (tokens, 96)))
    arrays = quantize_group(weight, scheme.format)
    store = ArrayStore(
        {f"a.{name}": array for name, array in zip(scheme.format.tensors, arrays, strict=True)}
    )
    weights = PackedWeights(store, scheme.formats)
    assert weights.shape("a") == (6, 96)
    expected = unpack(arrays, scheme.format).astype(np.float64) @ x.T
    np.testing.assert_allclose(weights.products("a", 0, 6, x), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "tier"), [("q5f32_1", BASE), ("q5f16_1", F16_SUBGROUPS), ("q5f32_1", SOFTWARE)]
)
def test_kernels_read_it(name: str, tier: Tier) -> None:
    """Each binds both planes; what they compute is for a browser."""
    scheme = ROWS[name]
    weight = matrix(64, 96, scheme.stored("any"), tier)
    kernels = [matvec(weight, tier), matmul(weight, tier), embed(weight, prefill=True)]
    if has_int8(scheme, tier):
        kernels.append(matmul_int8(weight))
    if has_matrix(scheme, tier):
        kernels.append(matmul_matrix(weight))
    assert len(kernels) == {BASE: 4, F16_SUBGROUPS: 5, SOFTWARE: 3}[tier]
    for kernel in kernels:
        wgsl = lower_kernel("read", kernel, tier).wgsl
        assert "w_codes" in wgsl and "w_high" in wgsl and "w_scales" in wgsl


@pytest.mark.slow
def test_a_model_compiles(tmp_path: Path) -> None:
    source = make_checkpoint(tmp_path / "model", BY_NAME["llama-3.1"])
    out = tmp_path / "out"
    request = CompileRequest(
        str(source),
        quantization="q5f32_1",
        out_dir=out,
        context_length=CONTEXT,
        prefill_chunk=CHUNK,
        tiers=("base",),
    )
    compile_bundle(request)
    manifest = open_bundle(out).manifest
    assert (manifest.model.quantization, manifest.model.scales) == ("q5f32_1", "calibrated")
    assert manifest.validation and any(t.name.endswith(".q_weight_high") for t in manifest.weights.tensors)
