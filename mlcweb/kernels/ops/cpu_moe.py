"""Launches a mixture of experts on a CPU, for one token or a chunk alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm.relax.frontend.nn import Tensor

from mlcweb.kernels.cpu.experts import combine, product_of_experts, route
from mlcweb.kernels.cpu.rounding import Rounded
from mlcweb.kernels.experts.mixture import Mixture
from mlcweb.kernels.experts.weights import Experts
from mlcweb.kernels.layouts.quantized import GroupQuantized
from mlcweb.kernels.layouts.storage import WholeMatrix
from mlcweb.kernels.ops.shared import Ops
from mlcweb.kernels.products.outputs import Folded

Round = Callable[[str, Tensor, Rounded], dict[str, Tensor]]


def cpu_moe(
    ops: Ops,
    x: Tensor,
    mixture: Mixture,
    residual: Tensor,
    *,
    decode: bool,
    rounds: Callable[[WholeMatrix], bool],
    rounded: Round,
) -> Tensor:
    """``residual + mixture(x)``, float32 ``[T, D]``, for x that is normalized.

    ``rounds``: whether a weight is multiplied by x in int8, of which ``rounded`` makes the tensors.
    """
    chosen, relaxed = mixture.experts_per_token, ops.tier.relaxed
    router, bias = mixture.router, mixture.router_bias
    kernel = ops.kernel(route, router, chosen, normalized=mixture.normalized, decode=decode, bias=bias)
    routed = ops.launch("experts_route", kernel, x=x, router=router, bias=bias)

    def products(name: str, experts: Experts, source: Tensor, folded: Folded, from_pairs: bool) -> Tensor:
        """Of all pairs, a launch for each range of experts."""
        y: Tensor | None = None
        taken: dict[Rounded, dict[str, Tensor]] = {}
        for expert_range, weight in experts.by_range(chosen):
            given: dict[str, Any] = {"x": source}
            if rounds(weight) and isinstance(weight, GroupQuantized):
                how = Rounded.of(weight.form, relaxed)
                if how not in taken:
                    taken[how] = rounded(f"round_{name}", source, how)
                given = dict(taken[how])
            kernel = ops.kernel(
                product_of_experts,
                weight,
                expert_range,
                rounds=rounds(weight),
                relaxed=relaxed,
                folded=folded,
                decode=decode,
                from_pairs=from_pairs,
            )
            given |= {"w": weight, "ids": routed["ids"], "bias": folded.bias, "y": y}
            y = ops.launch(name, kernel, **given)["y"]
        assert y is not None, "there are experts"
        return y

    gate_up = Folded(mixture.gate_up_bias, activation=mixture.activation, gated=True)
    hidden = products("experts_gate_up", mixture.gate_up, x, gate_up, False)
    pairs = products("experts_down", mixture.down, hidden, Folded(mixture.down_bias), True)
    kernel = ops.kernel(combine, int(x.shape[1]), chosen, decode=decode)
    written = ops.launch("experts_combine", kernel, pairs=pairs, shares=routed["shares"], residual=residual)
    return written["y"]
