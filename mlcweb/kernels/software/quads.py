"""Treats four neighbouring threads as a unit: broadcasts one's value to all, and sums over them."""

from typing import Any

from mlcweb.kernels.language.builder import KernelBuilder, call, u32
from mlcweb.kernels.language.expr import Buffer, Expr, T

QUAD = 4
_MAX_THREADS = 64
_WORKGROUPS = 24  # at least, where there are rows enough


def threads_for(quads: int) -> int:
    """A workgroup's threads, for ``quads`` in all: a workgroup is slow to start, but only several feed all CPUs."""
    threads = QUAD
    while threads < _MAX_THREADS and quads * QUAD // (threads * 2) >= _WORKGROUPS:
        threads *= 2
    return threads


def rows_of_thread(k: KernelBuilder, wg: Expr, tid: Expr, threads: int, count: int) -> tuple[Any, list[Expr]]:
    """A thread's lane in its quad, and the ``count`` weight rows that it sums, every fourth of its quad's.

    Rows past the last are among them: reading those WebGPU keeps in bounds, and they are not to be written.
    """
    lane = k.local(1, "int32", name="lane")
    k.store(lane, 0, T.bitwise_and(tid, QUAD - 1))
    first = k.local(1, "int32", name="first")
    k.store(first, 0, (wg * (threads // QUAD) + T.shift_right(tid, 2)) * (count * QUAD) + lane[0])
    return lane, [first[0] + v * QUAD for v in range(count)]


def broadcast(value: Expr, lane: int) -> Expr:
    """The float32 of the quad's thread ``lane``."""
    return call("float32", "quadBroadcast", value, u32(lane))


def quad_sum(k: KernelBuilder, total: Buffer, index: int = 0) -> None:
    """Replace ``total[index]``, in registers, by its sum over the quad."""
    for swap in ("quadSwapX", "quadSwapY"):
        k.store(total, index, total[index] + call("float32", swap, total[index]))
