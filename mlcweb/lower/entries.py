"""The model's entry points (prefill, also in other ways, decode, sample) as a Relax module, planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm.relax import transform as rx
from tvm.relax.frontend import nn
from tvm.relax.frontend.nn import Tensor
from tvm.relax.frontend.nn.exporter import Exporter

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.ops import (
    Decode,
    Inputs,
    Operations,
    Prefill,
    PrefillInt8,
    PrefillMatrix,
    Target,
    sample,
)
from mlcweb.kernels.products.matmul_matrix import needs_beyond
from mlcweb.lower.wgsl import webgpu

# Called with a phase's name and the module after it; of the first, ``export``, with what the exporter made.
Observe = Callable[[str, tvm.IRModule], None]


def _phases() -> dict[str, tvm.transform.Pass]:
    """What becomes of the exported module, in order: a pass by its phase's name, which a dump's files have."""
    return {
        "to_non_dataflow": rx.ToNonDataflow(),
        "remove_purity_checking": rx.RemovePurityChecking(),
        "call_tir_rewrite": rx.CallTIRRewrite(),
        "plan_memory": rx.StaticPlanBlockMemory(),
    }


@dataclass(frozen=True)
class Entries:
    """``module`` holds a Relax function per entry, each a straight line of kernel calls over planned storage.

    ``parameters`` names the model's tensors, which are every function's last parameters, in order.
    ``needs`` is what an entry needs of a device beyond the tier, as the plan has it.
    """

    module: tvm.IRModule
    parameters: tuple[str, ...]
    chunk: int
    names: tuple[str, ...]
    needs: dict[str, dict[str, Any]] = field(default_factory=dict)


class _EntryPoints(nn.Module):
    """Gives the exporter one method per entry; parameters keep the model's names."""

    def __init__(self, model: nn.Module, target: Target) -> None:
        self.inner, self._target = model, target

    def _forward(self, ops: Callable[[Target, Inputs], Operations[Tensor]], inputs: Inputs) -> Tensor:
        return self.inner(ops(self._target, inputs))

    def prefill(self, tokens: Tensor, state: Tensor, page_table: Tensor) -> Tensor:
        return self._forward(Prefill, Inputs(state, page_table, tokens))

    def prefill_int8(self, tokens: Tensor, state: Tensor, page_table: Tensor) -> Tensor:
        return self._forward(PrefillInt8, Inputs(state, page_table, tokens))

    def prefill_matrix(self, tokens: Tensor, state: Tensor, page_table: Tensor) -> Tensor:
        return self._forward(PrefillMatrix, Inputs(state, page_table, tokens))

    def decode(self, state: Tensor, page_table: Tensor) -> Tensor:
        return self._forward(Decode, Inputs(state, page_table))

    def sample(self, logits: Tensor, sampling: Tensor, state: Tensor) -> Tensor:
        return sample(logits, sampling, state)


class _Builder(tvm.relax.BlockBuilder):
    """Compares a kernel with the others of its module once, not again for each layer that calls it."""

    def __init__(self) -> None:
        super().__init__()
        self._added: dict[
            int, tuple[tvm.tirx.PrimFunc, Any]
        ] = {}  # holds the kernel, so that its id stays its

    def add_func(self, func: tvm.tirx.PrimFunc, func_name: str) -> Any:
        if id(func) not in self._added:
            self._added[id(func)] = func, super().add_func(func, func_name)
        return self._added[id(func)][1]


def lower_entries(
    model: nn.Module,
    tier: Tier,
    *,
    vocab: int,
    context: int,
    chunk: int,
    int8: bool,
    matrix: bool = False,
    observe: Observe = lambda phase, module: None,
) -> Entries:
    """Export ``model`` for ``tier`` and plan its memory; ``chunk`` is the most tokens a prefill call takes.

    ``int8`` adds the entry ``prefill_int8``, where ``kernels.choose.has_int8``; ``matrix`` adds ``prefill_matrix``,
    where ``has_matrix``. ``observe`` sees the module after each phase.
    """
    layout = model.layout
    entry_points = _EntryPoints(model, Target(tier, layout, context))
    spec = nn.spec.Tensor
    state, pages = spec([8], "int32"), spec([layout.pages], "int32")
    mode = {"param_mode": "plain", "effect_mode": "none"}
    prefill = {"tokens": spec(["n"], "int32"), "state": state, "page_table": pages, "$": mode}
    specs: dict[str, Any] = {
        "prefill": prefill,
        **({"prefill_int8": prefill} if int8 else {}),
        **({"prefill_matrix": prefill} if matrix else {}),
        "decode": {"state": state, "page_table": pages, "$": mode},
        "sample": {"logits": spec([1, vocab], "float32"), "sampling": state, "state": state, "$": mode},
    }
    exporter = Exporter(debug=False)
    exporter.builder = _Builder()
    module, parameters, _ = exporter.build(nn.spec.ModuleSpec.from_raw(specs, entry_points))
    for variable, function in module.functions_items():
        if variable.name_hint.startswith("prefill"):
            module[variable] = function.with_attr("tir_var_upper_bound", {"n": chunk})
    observe("export", module)
    with webgpu():
        for phase, run in _phases().items():
            module = run(module)
            observe(phase, module)
    names = tuple(name.removeprefix("inner.") for name, _ in parameters)
    needs = {"prefill_matrix": needs_beyond(tier)} if matrix else {}
    return Entries(module, names, chunk, tuple(specs), needs)
