"""Sums over a workgroup."""

from typing import Any

from tvm.tirx.script import builder as T

from mlcweb.kernels.builder import KernelBuilder, call, f32, u32
from mlcweb.kernels.tier import Tier


def reduce_sums(k: KernelBuilder, tier: Tier, tid: Any, sums: Any, count: int, threads: int) -> list[Any]:
    """Sum ``sums[0:count]`` over the workgroup's threads; thread 0 may read the returned totals.

    With subgroups of any size (4 to 128): one shuffle-sum each, then thread 0 adds the subgroups' sums. Without:
    two rounds through workgroup memory.
    """
    if tier.subgroups:
        # in registers, not `let`: TVM would inline the calls into the elected lane's branch, where they differ
        partial = k.shared(count * threads // 4, name="partial")
        size = k.local(1, "uint32", name="subgroup")
        k.store(size, 0, call("uint32", "subgroupAdd", u32(1)))
        for j in range(count):
            k.store(sums, j, call("float32", "subgroupAdd", sums[j]))
        with k.when(call("bool", "subgroupElect")):
            mine = T.Cast("int32", T.Cast("uint32", tid) // size[0])
            for j in range(count):
                k.store(partial, mine * count + j, sums[j])
        k.barrier()
        with k.when(tid == 0):
            for j in range(count):
                k.store(sums, j, partial[j])
            with k.loop(T.Cast("int32", u32(threads) // size[0]) - 1) as s:
                for j in range(count):
                    k.store(sums, j, sums[j] + partial[(s + 1) * count + j])
        return [sums[j] for j in range(count)]
    width = 8 if count * 8 <= threads else 4
    partial = k.shared(count * threads, name="partial")
    for j in range(count):
        k.store(partial, j * threads + tid, sums[j])
    k.barrier()
    with k.when(tid < count * width):
        running = k.local(1, name="running")
        k.store(running, 0, f32(0.0))
        for i in range(threads // width):
            k.store(running, 0, running[0] + partial[tid * (threads // width) + i])
        k.store(partial, tid * (threads // width), running[0])
    k.barrier()
    with k.when(tid == 0):
        for j in range(count):
            for i in range(width):
                value = partial[(j * width + i) * (threads // width)]
                k.store(sums, j, value if i == 0 else sums[j] + value)
    return [sums[j] for j in range(count)]
