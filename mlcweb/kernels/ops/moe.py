"""Launches a mixture of experts: for one token, and for a chunk whose tokens are grouped by expert.

Each product is a launch for every range of experts (``experts.weights``), all of which write one tensor in place.
"""

from __future__ import annotations

from collections.abc import Mapping

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.choice import choose
from mlcweb.kernels.experts.mixture import Mixture
from mlcweb.kernels.experts.route import combine, group, route
from mlcweb.kernels.experts.weights import ChosenExperts
from mlcweb.kernels.ops.shared import Ops, group_quantized
from mlcweb.kernels.products.matmul import WIDE, tile_for
from mlcweb.kernels.products.matmul_int8 import ROWS, matmul_int8
from mlcweb.kernels.products.matvec import Norm, Vectors
from mlcweb.kernels.products.outputs import Folded

assert WIDE.rows == ROWS, "both kinds of products read the same slots"


def decode_moe(ops: Ops, x: Tensor, norm: Norm, mixture: Mixture, residual: Tensor) -> Tensor:
    """``residual + mixture(norm(x))``, float32 ``[1, D]``."""
    tier, vectors = ops.tier, Vectors(y_block_order=True)
    routed = _route(ops, x, mixture, norm)
    gate_up = Folded(mixture.gate_up_bias, activation=mixture.activation, gated=True)
    hidden: Tensor | None = None
    for experts, weight in mixture.gate_up.by_range(mixture.experts_per_token):
        kernel = ops.kernel(
            choose.matvec,
            weight,
            tier,
            norm=norm,
            folded=gate_up,
            vectors=vectors,
            experts=ChosenExperts(experts),
        )
        bias = mixture.gate_up_bias
        given = {"x": x, "norm": norm.weight, "w": weight, "bias": bias, "ids": routed["ids"], "y": hidden}
        hidden = ops.launch("experts_gate_up", kernel, **given)["y"]
    out: Tensor | None = None
    for experts, weight in mixture.down.by_range(mixture.experts_per_token):
        first = out is None
        chosen, folded = (
            ChosenExperts(experts, mixed=True, in_place=not first),
            Folded(mixture.down_bias, joined="added" if first else None),
        )
        kernel = ops.kernel(choose.matvec, weight, tier, folded=folded, vectors=vectors, experts=chosen)
        given = {"x": hidden, "w": weight, "bias": mixture.down_bias, "y": out, **routed}
        out = ops.launch("experts_down", kernel, **given, residual=residual if first else None)["y"]
    return out


def prefill_moe(
    ops: Ops,
    x: Tensor,
    mixture: Mixture,
    residual: Tensor,
    rounded: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """``residual + mixture(x)``, float32 ``[n, D]``, for x that is normalized.

    ``rounded``: x in int8 codes and their scales, for the products with ``gate_up``.
    """
    experts_per_token = mixture.experts_per_token
    routed = _route(ops, x, mixture, None)
    tile = WIDE if rounded else tile_for(mixture.gate_up.rows)
    kernel = ops.kernel(group, mixture.router.rows, experts_per_token, tile.rows)
    slots = ops.launch("experts_group", kernel, ids=routed["ids"])["slots"]
    sorted_ = {"ids": routed["ids"], "slots": slots}
    gate_up = Folded(mixture.gate_up_bias, activation=mixture.activation, gated=True)
    hidden: Tensor | None = None
    for experts, weight in mixture.gate_up.by_range(experts_per_token):
        if rounded:
            kernel = ops.kernel(matmul_int8, group_quantized(weight), folded=gate_up, experts=experts)
            given = {**rounded, **sorted_, "w": weight, "bias": mixture.gate_up_bias, "y": hidden}
            hidden = ops.launch("experts_gate_up", kernel, way="int8", **given)["y"]
        else:
            kernel = ops.kernel(choose.matmul, weight, ops.tier, folded=gate_up, tile=tile, experts=experts)
            given = {"x": x, "w": weight, "bias": mixture.gate_up_bias, "y": hidden, **sorted_}
            hidden = ops.launch("experts_gate_up", kernel, **given)["y"]
    pairs: Tensor | None = None
    for experts, weight in mixture.down.by_range(experts_per_token):
        folded = Folded(mixture.down_bias)
        kernel = ops.kernel(
            choose.matmul, weight, ops.tier, folded=folded, tile=tile, experts=experts, from_pairs=True
        )
        given = {"x": hidden, "w": weight, "bias": mixture.down_bias, "y": pairs, **sorted_}
        pairs = ops.launch("experts_down", kernel, **given)["y"]
    kernel = ops.kernel(combine, int(x.shape[1]), experts_per_token)
    written = ops.launch("experts_combine", kernel, pairs=pairs, shares=routed["shares"], residual=residual)
    return written["y"]


def _route(ops: Ops, x: Tensor, mixture: Mixture, norm: Norm | None) -> dict[str, Tensor]:
    """``ids`` and ``shares`` of each token's experts."""
    block_order = norm is not None and choose.uses_block_order(ops.tier)
    kernel = ops.kernel(
        route,
        mixture.router,
        mixture.experts_per_token,
        ops.tier,
        normalized=mixture.normalized,
        norm=norm,
        block_order=block_order,
        bias=mixture.router_bias,
    )
    given = {"x": x, "norm": norm and norm.weight, "router": mixture.router, "bias": mixture.router_bias}
    return ops.launch("experts_route", kernel, **given)
