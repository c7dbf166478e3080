"""Exports a model's entries (prefills, decode, mask, sample, …) as a Relax module, and plans its memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.relax import transform as rx
from tvm.relax.frontend import nn
from tvm.relax.frontend.nn import Tensor
from tvm.relax.frontend.nn.exporter import Exporter

from mlcweb.contract.constants import Axes, Place, Sampling, Spot, State
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.ops import Inputs, Target, count, mask, penalize, sample
from mlcweb.kernels.ops.emitted import Emitted, emitted
from mlcweb.kernels.ops.entries import EntryPoint, Phase
from mlcweb.kernels.vocabulary.mask import mask_words
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

    ``parameters`` names the model's tensors, which are every function's last parameters, in order. ``most`` is how
    large each of an entry's dynamic sizes may be. ``emitted`` has each function's calls in order.
    """

    module: tvm.IRModule
    parameters: tuple[str, ...]
    most: dict[str, dict[str, int]]
    points: tuple[EntryPoint, ...]
    emitted: dict[str, list[Emitted]]


class _EntryPoints(nn.Module):
    """Gives the exporter one method per entry; parameters keep the model's names."""

    def __init__(self, model: nn.Module, target: Target, points: Sequence[EntryPoint]) -> None:
        self.inner, self._target = model, target
        for point in points:
            setattr(self, point.name, self._method(point))

    def _method(self, point: EntryPoint) -> Callable[..., Tensor]:
        """What the exporter calls, by the names of its phase's inputs."""

        def forward(inputs: Inputs) -> Tensor:
            assert point.ops is not None, f"{point.name} has no operations"
            return self.inner(point.ops(self._target, inputs))

        def prefill(tokens: Tensor, state: Tensor, page_table: Tensor) -> Tensor:
            return forward(Inputs(state, page_table, tokens))

        def seeing_prefill(tokens: Tensor, images: Tensor, state: Tensor, page_table: Tensor) -> Tensor:
            return forward(Inputs(state, page_table, tokens, images=images))

        def prefill_to_ends(
            tokens: Tensor, images: Tensor, ends: Tensor, state: Tensor, page_table: Tensor
        ) -> Tensor:
            return forward(Inputs(state, page_table, tokens, images=images, ends=ends))

        def turning_prefill(
            tokens: Tensor, images: Tensor, axes: Tensor, state: Tensor, page_table: Tensor
        ) -> Tensor:
            return forward(Inputs(state, page_table, tokens, images=images, axes=axes))

        def decode(state: Tensor, page_table: Tensor) -> Tensor:
            return forward(Inputs(state, page_table))

        def texts(tokens: Tensor, places: Tensor, texts: Tensor) -> Tensor:
            return forward(Inputs(tokens=tokens, places=places, texts=texts))

        def see(inputs: Inputs) -> Tensor:
            assert point.ops is not None, f"{point.name} has no operations"
            return self.inner.images(point.ops(self._target, inputs))

        def image(patches: Tensor, positions: Tensor, places: Tensor, rows: Tensor) -> Tensor:
            return see(Inputs(tokens=positions, places=places, patches=patches, rows=rows))

        def picture(patches: Tensor, spots: Tensor, places: Tensor, rows: Tensor) -> Tensor:
            return see(Inputs(axes=spots, places=places, patches=patches, rows=rows))

        def picture_in_windows(
            patches: Tensor, spots: Tensor, places: Tensor, windows: Tensor, rows: Tensor
        ) -> Tensor:
            return see(Inputs(axes=spots, places=places, windows=windows, patches=patches, rows=rows))

        seen = self.inner.images
        fed: Callable[..., Tensor] = prefill
        look: Callable[..., Tensor] = image
        if seen:
            fed = prefill_to_ends if seen.together else turning_prefill if seen.spots else seeing_prefill
            if seen.spots:
                look = picture_in_windows if seen.window else picture
        methods: dict[Phase, Callable[..., Tensor]] = {
            "prefill": fed,
            "decode": decode,
            "penalize": penalize,
            "mask": mask,
            "sample": sample,
            "count": count,
            "texts": texts,
            "image": look,
        }
        return methods[point.phase]


def _inputs(phase: Phase, model: nn.Module, vocab: int) -> dict[str, Any]:
    """The shapes and types of a phase's inputs, by name."""
    layout: HeadLayout = model.layout
    if phase == "texts":
        return {
            "tokens": nn.spec.Tensor(["n"], "int32"),
            "places": nn.spec.Tensor(["n", Place.WORDS], "int32"),
            "texts": nn.spec.Tensor(["b"], "int32"),
        }
    if phase == "image":
        places = {"positions": nn.spec.Tensor(["n"], "int32")}
        if model.images.spots:
            places = {"spots": nn.spec.Tensor(["n", Spot.WORDS], "int32")}
        windows = {"windows": nn.spec.Tensor(["n", Place.WORDS], "int32")} if model.images.window else {}
        return {
            "patches": nn.spec.Tensor(["n", model.images.config.patch_width], "float32"),
            **places,
            "places": nn.spec.Tensor(["n", Place.WORDS], "int32"),
            **windows,
            "rows": nn.spec.Tensor(["b"], "int32"),
        }
    state, pages = nn.spec.Tensor([State.WORDS], "int32"), nn.spec.Tensor([layout.pages], "int32")
    logits = {"logits": nn.spec.Tensor([1, vocab], "float32")}
    if phase == "mask":
        return {**logits, "mask": nn.spec.Tensor([mask_words(vocab)], "uint32")}
    sampling = {"sampling": nn.spec.Tensor([Sampling.WORDS], "int32")}
    counts = {"counts": nn.spec.Tensor([vocab], "int32")}
    if phase == "penalize":
        return {**logits, **sampling, **counts}
    if phase == "sample":
        return {**logits, **sampling, "state": state}
    if phase == "count":
        return {"state": state, **counts}
    if phase == "decode":
        return {"state": state, "page_table": pages}
    tokens = {"tokens": nn.spec.Tensor(["n"], "int32")}
    if model.images:
        width = (1 + model.images.added) * model.config.hidden_size
        tokens["images"] = nn.spec.Tensor(["n", width], "float32")
        if model.images.together:
            tokens["ends"] = nn.spec.Tensor(["n"], "int32")
        if model.images.spots:
            tokens["axes"] = nn.spec.Tensor(["n", Axes.WORDS], "int32")
    return {**tokens, "state": state, "page_table": pages}


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
            self._calls.append(emitted(str(variable.name_hint)))
        return variable


def lower_entries(
    model: nn.Module,
    tier: Tier,
    points: Sequence[EntryPoint],
    *,
    vocab: int,
    context: int,
    chunk: int,
    observe: Observe = lambda phase, module: None,
) -> Entries:
    """Export ``model`` for ``tier``, each of ``points`` a function, and plan its memory; ``chunk`` is the most tokens
    that a call takes. A call of a tower takes a tile, or a picture. ``observe`` sees the module after each phase.
    """
    most = {
        point.name: {"n": model.images.patches, "b": model.images.rows}
        if point.phase == "image"
        else dict.fromkeys(point.dims, chunk)
        for point in points
    }
    mode = {"$": {"param_mode": "plain", "effect_mode": "none"}}
    specs = {point.name: {**_inputs(point.phase, model, vocab), **mode} for point in points}
    exporter = Exporter(debug=False)
    exporter.builder = builder = _Builder()
    module, parameters, _ = exporter.build(
        nn.spec.ModuleSpec.from_raw(specs, _EntryPoints(model, Target(tier, context), points))
    )
    for variable, function in module.functions_items():
        if most.get(variable.name_hint):
            module[variable] = function.with_attr("tir_var_upper_bound", most[variable.name_hint])
    observe("export", module)
    with webgpu():
        for phase, run in _phases().items():
            module = run(module)
            observe(phase, module)
    names = tuple(name.removeprefix("inner.") for name, _ in parameters)
    return Entries(module, names, most, tuple(points), builder.emitted)
