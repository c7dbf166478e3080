"""Sums over a workgroup, with shuffles where there are subgroups (of any size from 4 to 128)."""

from collections.abc import Callable

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import KernelBuilder, call, f32, u32
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T

_SMALLEST_SUBGROUP = 4


def reduce_rows(
    k: KernelBuilder, tier: Tier, tid: Expr, sums: Buffer, count: int, threads: int
) -> Callable[[Index], Expr]:
    """Sum each of ``sums[0:count]`` over the workgroup; the result reads total j, in any thread, in O(1) or so.

    Subgroups add theirs by shuffles and leave them in workgroup memory, where whoever reads a total adds the few
    that there are. Without subgroups the threads' sums go there, and are added in two rounds.
    """
    if tier.subgroups:
        # in registers, not `let`: TVM would inline the calls into the elected lane's branch, where they differ
        max_subgroups = max(1, threads // _SMALLEST_SUBGROUP)
        partial = k.shared(count * max_subgroups, name="partial")
        size = k.local(1, "uint32", name="subgroup")
        k.store(size, 0, call("uint32", "subgroupAdd", u32(1)))
        for j in range(count):
            k.store(sums, j, call("float32", "subgroupAdd", sums[j]))
        with k.when(call("bool", "subgroupElect")):
            mine = T.Cast("int32", T.Cast("uint32", tid) // size[0])
            for j in range(count):
                k.store(partial, j * max_subgroups + mine, sums[j])
        k.barrier()
        subgroups = T.max(T.Cast("int32", u32(threads) // size[0]), 1)

        def total(j: Index) -> Expr:
            running = k.local(1, name="running")
            k.store(running, 0, partial[j * max_subgroups])
            with k.loop(subgroups - 1) as s:
                k.store(running, 0, running[0] + partial[j * max_subgroups + s + 1])
            return running[0]

        return total

    width = 8
    while width * count > threads and width > 1:
        width //= 2
    per_sum = threads // width
    partial = k.shared(count * threads, name="partial")
    for j in range(count):
        k.store(partial, j * threads + tid, sums[j])
    k.barrier()
    for start in range(0, count * width, threads):
        item = tid + start
        with k.when(item < count * width):
            running = k.local(1, name="running")
            k.store(running, 0, f32(0.0))
            for i in range(per_sum):
                k.store(running, 0, running[0] + partial[item * per_sum + i])
            k.store(partial, item * per_sum, running[0])
    k.barrier()

    def total_of_sums(j: Index) -> Expr:
        running = k.local(1, name="running")
        k.store(running, 0, partial[j * threads])
        for i in range(1, width):
            k.store(running, 0, running[0] + partial[j * threads + i * per_sum])
        return running[0]

    return total_of_sums
