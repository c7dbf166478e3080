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

from mlcweb.contract.constants import ENTRIES, Sampling, State
from mlcweb.contract.plan import Needs
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.ops import Decode, Prefill, PrefillInt8, PrefillMatrix, sample
from mlcweb.kernels.ops.emitted import Emitted, emitted
from mlcweb.kernels.products.matmul_matrix import needs_beyond
from mlcweb.lower.wgsl import webgpu

DIMS = {row.name: row.dims for row in ENTRIES}  # an entry's dynamic sizes

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
    ``emitted`` has each function's calls in order. ``needs`` is what an entry needs of a device beyond the tier.
    """

    module: tvm.IRModule
    parameters: tuple[str, ...]
    chunk: int
    names: tuple[str, ...]
    emitted: dict[str, list[Emitted]]
    needs: dict[str, Needs] = field(default_factory=dict)


class _EntryPoints(nn.Module):
    """Gives the exporter one method per entry; parameters keep the model's names."""

    def __init__(
        self, model: nn.Module, prefill: Prefill, int8: PrefillInt8, matrix: PrefillMatrix, decode: Decode
    ) -> None:
        self.inner, self.decode_ops = model, decode
        self.prefill_ops, self.int8_ops, self.matrix_ops = prefill, int8, matrix

    def prefill(self, tokens: Tensor, state: Tensor, page_table: Tensor) -> Tensor:
        return self.inner(self.prefill_ops, tokens, state, page_table)

    def prefill_int8(self, tokens: Tensor, state: Tensor, page_table: Tensor) -> Tensor:
        return self.inner(self.int8_ops, tokens, state, page_table)

    def prefill_matrix(self, tokens: Tensor, state: Tensor, page_table: Tensor) -> Tensor:
        return self.inner(self.matrix_ops, tokens, state, page_table)

    def decode(self, state: Tensor, page_table: Tensor) -> Tensor:
        return self.inner(self.decode_ops, state, state, page_table)

    def sample(self, logits: Tensor, sampling: Tensor, state: Tensor) -> Tensor:
        return sample(logits, sampling, state)


class _Builder(tvm.relax.BlockBuilder):
    """Notes the calls, and compares a kernel with the module's others once, not for each layer that calls it."""

    def __init__(self) -> None:
        super().__init__()
        self._added: dict[
            int, tuple[tvm.tirx.PrimFunc, Any]
        ] = {}  # holds the kernel, so that its id stays its
        self.emitted: dict[str, list[Emitted]] = {}

    def function(self, name: str, *args: Any, **options: Any) -> Any:
        self._calls = self.emitted.setdefault(name, [])
        return super().function(name, *args, **options)

    def add_func(self, func: tvm.tirx.PrimFunc, func_name: str) -> Any:
        if id(func) not in self._added:
            self._added[id(func)] = func, super().add_func(func, func_name)
        variable = self._added[id(func)][1]
        if isinstance(func, tvm.tirx.PrimFunc):  # not the entry itself
            self._calls.append(emitted(str(variable.name_hint), func_name))
        return variable


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
    shape = (tier, layout, context)
    prefills = Prefill(*shape), PrefillInt8(*shape), PrefillMatrix(*shape)
    entry_points = _EntryPoints(model, *prefills, Decode(*shape))
    spec = nn.spec.Tensor
    state, pages = spec([State.WORDS], "int32"), spec([layout.pages], "int32")
    sampling = spec([Sampling.WORDS], "int32")
    mode = {"param_mode": "plain", "effect_mode": "none"}
    prefill = {"tokens": spec(["n"], "int32"), "state": state, "page_table": pages, "$": mode}
    specs: dict[str, Any] = {
        "prefill": prefill,
        **({"prefill_int8": prefill} if int8 else {}),
        **({"prefill_matrix": prefill} if matrix else {}),
        "decode": {"state": state, "page_table": pages, "$": mode},
        "sample": {"logits": spec([1, vocab], "float32"), "sampling": sampling, "state": state, "$": mode},
    }
    exporter = Exporter(debug=False)
    exporter.builder = builder = _Builder()
    module, parameters, _ = exporter.build(nn.spec.ModuleSpec.from_raw(specs, entry_points))
    for variable, function in module.functions_items():
        if variable.name_hint in specs and DIMS[variable.name_hint]:
            module[variable] = function.with_attr("tir_var_upper_bound", {"n": chunk})
    observe("export", module)
    with webgpu():
        for phase, run in _phases().items():
            module = run(module)
            observe(phase, module)
    names = tuple(name.removeprefix("inner.") for name, _ in parameters)
    needs = {"prefill_matrix": needs_beyond(tier)} if matrix else {}
    return Entries(module, names, chunk, tuple(specs), builder.emitted, needs)
