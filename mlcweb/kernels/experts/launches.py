"""A mixture of experts as launches: of one token, and of a chunk whose tokens are grouped by expert.

Each product is a launch for every part of its weights (``moe_weights``), all of which write one tensor in place.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.relax.frontend.nn import Tensor, op

from mlcweb.kernels.choice import choose
from mlcweb.kernels.choice.reads import reads_experts, reads_weights
from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.experts.route import combine, group, route, tiles_of
from mlcweb.kernels.experts.weights import Experts, Part
from mlcweb.kernels.layouts.storage import Values, WholeMatrix
from mlcweb.kernels.products.matmul import WIDE, tile_for
from mlcweb.kernels.products.matmul_int8 import ROWS, matmul_int8
from mlcweb.kernels.products.matvec import Norm
from mlcweb.kernels.products.outputs import Activation

Make = Callable[[], tirx.PrimFunc]
assert WIDE.rows == ROWS, "both kinds of products read the same slots"


@dataclass(frozen=True)
class Mixture:
    """``router`` ``[E, D]``, and of each expert ``gate_up``, gate over up, ``[2I, D]`` and ``down`` ``[D, I]``.

    A token's output is the sum of its ``choices`` experts of the largest logits, weighted by the softmax over those.
    """

    router: Values
    gate_up: Experts
    down: Experts
    choices: int
    activation: Activation = "silu"

    @property
    def key(self) -> Hashable:
        """What a kernel of it depends on, beside the storage."""
        return self.router.rows, self.choices, self.gate_up.rows, self.gate_up.columns, self.activation


@dataclass(frozen=True)
class MoeLaunches:
    """Makes launches on a tier, and ``once`` of the kernel of a key."""

    tier: Tier
    once: Callable[[Hashable, Make], tirx.PrimFunc]

    def decode(self, x: Tensor, norm: Norm, mixture: Mixture, residual: Tensor) -> Tensor:
        """``residual + mixture(norm(x))``, float32 ``[1, D]``."""
        ids, shares = self._route("decode", x, mixture, norm)
        inner = mixture.gate_up.rows // 2
        hidden = Tensor.placeholder((mixture.choices, inner), "float32")
        for i, (part, weight) in enumerate(mixture.gate_up.parts(mixture.choices)):
            args = [x, *norm.weight.tensors, *weight.tensors, ids]

            def gate_up(part: Part = part, weight: WholeMatrix = weight) -> tirx.PrimFunc:
                return choose.matvec(
                    weight,
                    self.tier,
                    norm=norm,
                    activation=mixture.activation,
                    gated=True,
                    to_blocks=True,
                    experts=part,
                )

            hidden = self._write("decode_experts_gate_up", mixture, i, part, weight, gate_up, args, hidden)
        out = Tensor.placeholder(x.shape, "float32")
        for i, (part, weight) in enumerate(mixture.down.parts(mixture.choices)):
            args = [hidden, *weight.tensors, ids, shares, *([] if i else [residual])]

            def down(part: Part = part, weight: WholeMatrix = weight, first: bool = i == 0) -> tirx.PrimFunc:
                return choose.matvec(
                    weight,
                    self.tier,
                    experts=part,
                    mixed=True,
                    residual=first,
                    in_place=not first,
                    to_blocks=True,
                )

            out = self._write("decode_experts_down", mixture, i, part, weight, down, args, out)
        return out

    def prefill(
        self, x: Tensor, mixture: Mixture, residual: Tensor, rounded: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """``residual + mixture(x)``, float32 ``[n, D]``, for x that is normalized.

        ``rounded``: x in int8 codes and their scales, for the products with ``gate_up``.
        """
        n, choices, experts = x.shape[0], mixture.choices, mixture.router.rows
        ids, shares = self._route("prefill", x, mixture, None)
        tile = WIDE if rounded else tile_for(mixture.gate_up.rows)
        slots = op.tensor_ir_op(
            self.once(("group", mixture.key, tile), lambda: group(experts, choices, tile.rows)),
            "prefill_experts_group",
            [ids],
            Tensor.placeholder((tiles_of(n, experts, choices, tile.rows) * tile.rows,), "int32"),
        )
        hidden = Tensor.placeholder((n * choices, mixture.gate_up.rows // 2), "float32")
        for i, (part, weight) in enumerate(mixture.gate_up.parts(choices)):
            args = [*(rounded or [x]), *weight.tensors, ids, slots]

            def gate_up(part: Part = part, weight: Any = weight) -> tirx.PrimFunc:
                options: dict[str, Any] = {"activation": mixture.activation, "gated": True, "experts": part}
                if rounded:
                    return matmul_int8(weight, **options)
                return choose.matmul(weight, self.tier, tile=tile, **options)

            name = f"prefill_{'int8_' if rounded else ''}experts_gate_up"
            hidden = self._write(name, mixture, i, part, weight, gate_up, args, hidden)
        pairs = Tensor.placeholder((n * choices, x.shape[1]), "float32")
        for i, (part, weight) in enumerate(mixture.down.parts(choices)):
            args = [hidden, *weight.tensors, ids, slots]

            def down(part: Part = part, weight: WholeMatrix = weight) -> tirx.PrimFunc:
                return choose.matmul(weight, self.tier, tile=tile, experts=part, from_pairs=True)

            pairs = self._write("prefill_experts_down", mixture, i, part, weight, down, args, pairs)
        func = self.once(("combine", mixture.key), lambda: combine(int(x.shape[1]), choices))
        out = Tensor.placeholder(x.shape, "float32")
        return op.tensor_ir_op(func, "prefill_experts_combine", [pairs, shares, residual], out)

    def _route(self, entry: str, x: Tensor, mixture: Mixture, norm: Norm | None) -> tuple[Tensor, Tensor]:
        def make() -> tirx.PrimFunc:
            in_blocks = norm is not None and choose.in_blocks(self.tier)
            made = route(mixture.router, mixture.choices, self.tier, norm=norm, in_blocks=in_blocks)
            return reads_weights(made, mixture.router)

        shape = (x.shape[0], mixture.choices)
        args = [x, *(norm.weight.tensors if norm else []), *mixture.router.tensors]
        outs = [Tensor.placeholder(shape, "int32"), Tensor.placeholder(shape, "float32")]
        ids, shares = op.tensor_ir_op(
            self.once(("route", mixture.key), make), f"{entry}_experts_route", args, outs
        )
        return ids, shares

    def _write(
        self,
        name: str,
        mixture: Mixture,
        i: int,
        part: Part,
        weight: WholeMatrix,
        make: Make,
        args: list[Any],
        out: Tensor,
    ) -> Tensor:
        """Launch a part's product: the first makes ``out``, the others write into it."""
        func = self.once(
            (name, mixture.key, part), lambda: reads_weights(reads_experts(make(), part), weight)
        )
        if i == 0:
            return op.tensor_ir_op(func, name, args, out)
        same = Tensor.placeholder(out.shape, "float32")
        return op.tensor_ir_inplace_op(func, name, [*args, out], [len(args)], same)
