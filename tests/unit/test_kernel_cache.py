"""The cache of lowered kernels gives back what was made, and nothing that happens to it fails a compile."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tvm import tirx

from mlcweb.errors import CompileError
from mlcweb.kernel_cache import KernelCache, open_cache
from mlcweb.kernels.choice.tier import BASE, F16, F16_SUBGROUPS, SUBGROUPS
from mlcweb.kernels.language.builder import KernelBuilder, dynamic
from mlcweb.lower import LoweredKernel, lower_kernel, wgsl
from tests.support.lowered import VARIANTS, lowered

pytestmark = pytest.mark.slow

KEY = {"kernel": "k", "of": [1, 2]}


def entries(cache: KernelCache) -> list[Path]:
    return [path for path in cache.folder.rglob("*") if path.is_file()]


def scale(factor: float = 2.0, name: str = "x", dtype: str = "float32", rows: int = 4) -> tirx.PrimFunc:
    """y = factor · x for n rows."""
    k = KernelBuilder("scale")
    n = dynamic("n")
    x, y = (k.buffer(buffer, (n, 64), dtype) for buffer in (name, "y"))
    (row,), tid = k.launch([(n + rows - 1) // rows], 64)
    with k.when(row * rows < n):
        k.store(y, [row * rows, tid], x[row * rows, tid] * tirx.const(factor, dtype))
    return k.finish()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    cache = KernelCache(tmp_path / "a" / "b")
    assert cache.read(KEY) is None
    cache.write(KEY, {"wgsl": "fn ä() {}"})
    assert cache.read({"of": [1, 2], "kernel": "k"}) == {"wgsl": "fn ä() {}"}
    assert cache.read({**KEY, "of": [1, 3]}) is None
    count, size = cache.size()
    assert (count, size) == (1, entries(cache)[0].stat().st_size)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:70] + bytes([data[70] ^ 1]) + data[71:],
        lambda data: b"",
        lambda data: b"\xff" * 80,
        lambda data: b"{}",
    ],
    ids=["short", "flipped", "empty", "binary", "foreign"],
)
def test_a_damaged_entry_is_none_and_is_written_again(damage: Any, tmp_path: Path) -> None:
    cache = KernelCache(tmp_path)
    cache.write(KEY, {"wgsl": "fn f() {}"})
    (path,) = entries(cache)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.read(KEY) is None
    cache.write(KEY, {"wgsl": "fn f() {}"})
    assert cache.read(KEY) == {"wgsl": "fn f() {}"}
    assert entries(cache) == [path]


def test_a_folder_that_cannot_be_used_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = KernelCache(tmp_path / "file" / "kernels")
    cache.write(KEY, 1)
    assert cache.read(KEY) is None
    assert cache.size() == (0, 0)
    cache.prune()


def test_what_was_used_longest_ago_is_pruned(tmp_path: Path) -> None:
    cache = KernelCache(tmp_path, max_bytes=3000)
    for key in range(5):
        cache.write(key, "x" * 900)
        os.utime(cache._path(key), (1000 + key, 1000 + key))
    assert cache.read(0) is not None, "reading is using"
    left = tmp_path / "aa" / ".left"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"by a killed process")
    os.utime(left, (5000, 5000))
    cache.prune()
    assert [cache.read(key) is not None for key in range(5)] == [True, False, False, True, True]
    assert not left.exists()


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCWEB_KERNEL_CACHE", str(tmp_path / "k"))
    assert open_cache() == KernelCache(tmp_path / "k")
    monkeypatch.setenv("MLCWEB_KERNEL_CACHE", "")
    assert open_cache() is None
    monkeypatch.delenv("MLCWEB_KERNEL_CACHE")
    monkeypatch.setenv("MLCWEB_CACHE", str(tmp_path / "c"))
    assert open_cache() == KernelCache(tmp_path / "c" / "kernels")


def test_every_kernel_survives_being_kept() -> None:
    for scheme, tier in VARIANTS:
        for kernel in lowered("tiny", scheme, tier)[1].kernels:
            kept = kernel.to_json()
            assert kept is not None
            again = LoweredKernel.from_json(kept)
            assert again.to_json() == kept
            assert replace(again, scalars=(), grid=()) == replace(kernel, scalars=(), grid=())
            assert list(map(str, again.grid + again.scalars)) == list(map(str, kernel.grid + kernel.scalars))


def test_a_kernel_with_another_kind_of_expression_is_not_kept() -> None:
    kernel = lower_kernel("scale", scale(), BASE)
    assert kernel.to_json() is not None
    for other in (tirx.Cast("int32", dynamic("n")), tirx.Var("n", "int64"), tirx.IntImm("int64", 3)):
        assert replace(kernel, grid=(other,)).to_json() is None


@pytest.mark.parametrize("tier", [BASE, SUBGROUPS, F16, F16_SUBGROUPS], ids=lambda tier: tier.name)
def test_a_kept_kernel_is_not_lowered_again(
    tier: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, dtype = KernelCache(tmp_path), "float16" if tier.f16 else "float32"
    fresh = lower_kernel("scale", scale(dtype=dtype), tier)
    assert lower_kernel("scale", scale(dtype=dtype), tier, cache).to_json() == fresh.to_json()
    monkeypatch.setattr(wgsl, "_lower", lambda name, func: pytest.fail(f"{name} is lowered again"))
    assert lower_kernel("scale", scale(dtype=dtype), tier, cache).to_json() == fresh.to_json()
    enabled = [line for line in fresh.wgsl.splitlines() if line.startswith("enable")]
    assert enabled == ["enable f16;"] * tier.f16 + ["enable subgroups;"] * tier.subgroups


@pytest.mark.parametrize("change", [{"factor": 2.0000002}, {"name": "z"}, {"dtype": "float16"}, {"rows": 5}])
def test_another_kernel_is_another_entry(change: dict[str, Any], tmp_path: Path) -> None:
    cache = KernelCache(tmp_path)
    lower_kernel("scale", scale(), BASE, cache)
    made = lower_kernel("scale", scale(**change), F16, cache)
    assert made.to_json() == lower_kernel("scale", scale(**change), F16).to_json()
    assert lower_kernel("other", scale(), BASE, cache).wgsl.count("fn other(") == 1
    assert cache.size()[0] == 3


def test_a_kernel_that_is_refused_is_not_kept(tmp_path: Path) -> None:
    k = KernelBuilder("wide")
    buffer = k.buffer("b", (1024,), "float32")
    _, tid = k.launch([1], 512)
    k.store(buffer, tid, buffer[tid])
    wide = k.finish()
    for _ in range(2):
        with pytest.raises(CompileError, match="512 invocations"):
            lower_kernel("wide", wide, BASE, KernelCache(tmp_path))
    assert entries(KernelCache(tmp_path)) == []
