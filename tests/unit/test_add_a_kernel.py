"""docs/add-a-kernel.md: its kernel lowers, and TVM prints what the page says that it prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.errors import CompileError
from mlcweb.kernels.choice.tier import BASE, SUBGROUPS, Tier
from mlcweb.kernels.language.builder import KernelBuilder, call, f32, kernel, lane, load4, ramp4, splat, u32
from mlcweb.lower import lower_kernel
from tests.support.kernel_example import scale_rows


def wgsl(body: Callable[[KernelBuilder, Any, Any, Any], None], tier: Tier = BASE, threads: int = 16) -> str:
    """A kernel of x ``[64]`` and y ``[64]``, lowered."""

    @kernel
    def write() -> tirx.PrimFunc:
        k = KernelBuilder("printed")
        x, y = (k.buffer(name, (64,), "float32") for name in ("x", "y"))
        _, tid = k.launch([1], threads)
        body(k, x, y, tid)
        return k.finish()

    return lower_kernel("printed", write(), tier).wgsl


def test_the_pages_kernel_lowers() -> None:
    lowered = lower_kernel("scale_rows", scale_rows(576, 0.5), BASE)
    assert lowered.bindings == ["read-only-storage", "storage", "uniform"]
    assert "x_ptr : array<vec4<f32>>" in lowered.wgsl and "y_ptr : array<vec4<f32>>" in lowered.wgsl
    assert "vec4<f32>(5.000000e-01f" in lowered.wgsl


def test_one_access_of_an_element_makes_loads_of_four_single() -> None:
    def mixed(k: KernelBuilder, x: Any, y: Any, tid: Any) -> None:
        k.store(y, ramp4(tid * 4), load4(x, tid * 4) + splat(x[tid]))

    printed = wgsl(mixed)
    assert "x_ptr : array<f32>" in printed and "y_ptr : array<vec4<f32>>" in printed


def test_a_let_of_arithmetic_is_written_out_and_one_of_a_load_is_not() -> None:
    def lets(k: KernelBuilder, x: Any, y: Any, tid: Any) -> None:
        place = k.let(tid * 3 + 1, "place")
        value = k.let(x[tid], "value")
        k.store(y, place * place, value * value)

    stored = re.search(r"y_ptr\[(.*)\] = (.*);", wgsl(lets))
    assert stored and "place" not in stored[1] and stored[2] == "(value * value)"


def test_a_pure_call_may_move_into_a_branch_and_registers_do_not() -> None:
    def in_let(k: KernelBuilder, x: Any, y: Any, tid: Any) -> None:
        size = k.let(call("uint32", "subgroupAdd", u32(1)), "size")
        with k.when(tid < 3):
            k.store(y, tid, T.Cast("float32", size))

    def in_register(k: KernelBuilder, x: Any, y: Any, tid: Any) -> None:
        size = k.local(1, "uint32", name="size")
        k.store(size, 0, call("uint32", "subgroupAdd", u32(1)))
        with k.when(tid < 3):
            k.store(y, tid, T.Cast("float32", size[0]))

    for body, moved in ((in_let, True), (in_register, False)):
        printed = wgsl(body, SUBGROUPS)
        assert ("subgroupAdd" in printed.split("if (i32(threadIdx.x)", 1)[1]) == moved


def test_constants_have_seven_digits_and_products_are_fused() -> None:
    def third(k: KernelBuilder, x: Any, y: Any, tid: Any) -> None:
        k.store(y, tid, x[tid] * x[tid] + f32(1 / 3))

    printed = wgsl(third)
    assert "3.333333e-01f" in printed and "fma(" in printed


def test_a_call_is_printed_for_each_lane_unless_it_is_not_pure() -> None:
    def lanes(k: KernelBuilder, value: Any, y: Any, tid: Any) -> None:
        k.store(y, tid, lane(value, 0) + lane(value, 1))

    def pure(k: KernelBuilder, x: Any, y: Any, tid: Any) -> None:
        lanes(k, k.let(call("float32x2", "unpack2x16float", T.Cast("uint32", tid)), "pair"), y, tid)

    def named(k: KernelBuilder, x: Any, y: Any, tid: Any) -> None:
        extern = T.call_extern("float32x2", "unpack2x16float", T.Cast("uint32", tid))
        lanes(k, k.let(extern, "pair"), y, tid)

    assert [wgsl(body).split("y_ptr[")[1].count("unpack2x16float") for body in (pure, named)] == [2, 0]


def test_limits_are_refused_with_the_kernels_name() -> None:
    def memory(k: KernelBuilder, x: Any, y: Any, tid: Any) -> None:
        tile = k.shared(5000, name="tile")
        k.store(tile, tid, x[tid])
        k.barrier()
        k.store(y, tid, tile[tid])

    with pytest.raises(CompileError, match="kernel printed"):
        wgsl(memory)
    with pytest.raises(CompileError, match="kernel printed needs 512 invocations"):
        wgsl(lambda k, x, y, tid: k.store(y, tid, x[tid]), threads=512)
