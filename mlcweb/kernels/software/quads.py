"""Four neighbouring threads as a unit: a value of one of them in all, and sums over them."""

from typing import Any

from mlcweb.kernels.builder import KernelBuilder, call, u32

QUAD = 4


def broadcast(value: Any, lane: int) -> Any:
    """The float32 of the quad's thread ``lane``."""
    return call("float32", "quadBroadcast", value, u32(lane))


def quad_sum(k: KernelBuilder, total: Any, index: int = 0) -> None:
    """Replace ``total[index]``, in registers, by its sum over the quad."""
    for swap in ("quadSwapX", "quadSwapY"):
        k.store(total, index, total[index] + call("float32", swap, total[index]))
