"""The CPU tier's kernels as C functions, and its plan, which is one for two modules of kernels."""

from __future__ import annotations

import pytest

from mlcweb.errors import CompileError
from mlcweb.kernels.choice.tier import BASE, WASM, WASM_RELAXED
from mlcweb.kernels.cpu.builder import CpuKernel
from mlcweb.kernels.cpu.norm import normalize
from mlcweb.kernels.language.builder import call, kernel
from mlcweb.kernels.layouts.storage import Values, Vector
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.vocabulary.embedding import embed
from mlcweb.lower.host import host_kernel, lower_host_kernel
from mlcweb.wasm.module import compile_tables
from tests.support.lowered import lowered


def test_a_function_takes_addresses_sizes_and_a_range() -> None:
    host = host_kernel(normalize(Norm(Vector(64, "float32", BASE), 1e-5)))
    assert [str(p.name) for p in host.function.params] == ["x", "norm", "y", "n", "begin", "end"]
    assert host.sizes == ("n",) and str(host.grid) == "n"


def test_a_gpus_kernel_is_refused() -> None:
    func = embed(Values((8, 64), "float32", BASE), prefill=True)
    with pytest.raises(
        CompileError, match="CPU tier cannot run prefill_embed: kernel embed: a CPU's kernel begins"
    ):
        lower_host_kernel("prefill_embed", func)


def test_a_builtin_that_no_cpu_has_is_refused() -> None:
    @kernel
    def waits() -> object:
        k = CpuKernel("waits")
        x = k.output("x", (4,), "float32")
        index = k.parallel(4)
        k.store(x, index, call("float32", "subgroupAdd", x[index]))
        return k.finish()

    with pytest.raises(ValueError, match="kernel waits: a CPU's kernels have no subgroupAdd"):
        waits()


@pytest.mark.parametrize("scheme", ["q4f16_1", "q4f32_e8", "q3f16_1"])
def test_both_modules_have_one_plan(scheme: str) -> None:
    plans = [lowered("tiny-untied", scheme, tier)[1] for tier in (WASM, WASM_RELAXED)]
    assert plans[0].to_json() == plans[1].to_json()
    assert [entry.name for entry in plans[0].entries] == ["prefill", "decode"]
    assert all(kernel.wgsl == "" and len(kernel.grid) == 1 for kernel in plans[0].kernels)
    assert compile_tables(plans[0]) == compile_tables(plans[1])
