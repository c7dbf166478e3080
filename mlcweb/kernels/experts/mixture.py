"""Declares a mixture of experts, as a layer has it."""

from dataclasses import dataclass

from mlcweb.kernels.experts.weights import Experts
from mlcweb.kernels.layouts.storage import Values
from mlcweb.kernels.products.outputs import Activation, ClampedSwiGLU


@dataclass(frozen=True)
class Mixture:
    """``router`` ``[E, D]``, and of each expert ``gate_up``, gate over up, ``[2I, D]`` and ``down`` ``[D, I]``.

    A token's output is the sum of its ``experts_per_token`` experts of the largest logits, weighted by the softmax
    over those, or over all experts' logits if not ``normalized``. Of biases, ``router_bias`` is ``[1, E]``, and those
    of the experts have a row for each.
    """

    router: Values
    gate_up: Experts
    down: Experts
    experts_per_token: int
    activation: Activation | ClampedSwiGLU = "silu"
    normalized: bool = True
    router_bias: Values | None = None
    gate_up_bias: Values | None = None
    down_bias: Values | None = None
