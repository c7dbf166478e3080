"""x as prefill's products read it, by groups of 32 columns: rounded to int8 with a scale, or to float16."""

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from mlcweb.kernels.choice.tier import Tier
from mlcweb.kernels.language.builder import (
    KernelBuilder,
    call,
    dynamic,
    f32,
    kernel,
    lane,
    load4,
    ramp4,
    splat,
)
from mlcweb.kernels.language.reduce import reduce_rows
from mlcweb.kernels.layouts.storage import GROUP
from mlcweb.kernels.layouts.tail import load_padded
from mlcweb.kernels.products.matvec import Norm

_THREADS = 64
_LARGEST_HALF = 65504.0


@kernel
def quantize_rows(width: int, tier: Tier, norm: Norm | None = None, *, paired: bool = True) -> tirx.PrimFunc:
    """Kernel: x, RMS-normalized if ``norm``, as int8 ``[n, 8 * groups]`` uint32 and scales ``[n, groups]``.

    Arguments: x ``[n, K]``, [norm weight], codes, scales. scale = max|x| / 127 over 32 values, the last group padded
    with zeros. ``paired``: of eight values the first word has the even ones and the second the odd ones, as masking
    nibbles gives the weights'; otherwise they are in order.
    """
    groups = -(-width // GROUP)
    k, n = KernelBuilder("quantize_rows"), dynamic("n")
    x, weight = _inputs(k, n, width, norm)
    codes = k.buffer("codes", (n, groups * GROUP // 4), "uint32")
    scales = k.buffer("scales", (n, groups), "float32")

    def store(values: list[Any], row: Any, group: Any) -> None:
        _quantize_group(k, values, row, group, codes, scales, paired)

    return _by_group(k, n, width, tier, norm, x, weight, store)


@kernel
def halve_rows(width: int, tier: Tier, norm: Norm | None = None) -> tirx.PrimFunc:
    """Kernel: x, RMS-normalized if ``norm``, as pairs of float16 ``[n, 16 * groups]`` uint32.

    Arguments: x ``[n, K]``, [norm weight], halves. The last group is padded with zeros. Of eight values a word has the
    i-th and the (i + 4)-th, as masking nibbles gives the weights'. What float16 cannot hold becomes its largest.
    """
    k, n = KernelBuilder("halve_rows"), dynamic("n")
    x, weight = _inputs(k, n, width, norm)
    halves = k.buffer("halves", (n, -(-width // GROUP) * GROUP // 2), "uint32")

    def store(values: list[Any], row: Any, group: Any) -> None:
        largest = f32(_LARGEST_HALF)
        for eight in range(GROUP // 8):
            low, high = (
                k.let(call("float32x4", "clamp", value, splat(-largest), splat(largest)), "half4")
                for value in values[eight * 2 : eight * 2 + 2]
            )
            words = [
                call("uint32", "pack2x16float", call("float32x2", "vec2<f32>", lane(low, i), lane(high, i)))
                for i in range(4)
            ]
            at = group * (GROUP // 2) + eight * 4
            k.store(halves, [row, ramp4(at)], T.Shuffle(words, [0, 1, 2, 3]))

    return _by_group(k, n, width, tier, norm, x, weight, store)


def _inputs(k: KernelBuilder, n: Any, width: int, norm: Norm | None) -> tuple[Any, Any]:
    return k.buffer("x", (n, width), "float32"), norm.weight.bind(k, "norm") if norm else None


def _by_group(
    k: KernelBuilder,
    n: Any,
    width: int,
    tier: Tier,
    norm: Norm | None,
    x: Any,
    weight: Any,
    store: Callable[[list[Any], Any, Any], None],
) -> tirx.PrimFunc:
    """Gives each group's eight float32x4 to ``store``: a thread has a group, or, with a norm, a workgroup a row."""
    groups = -(-width // GROUP)

    def values(load: Callable[[Any], Any], group: Any) -> list[Any]:
        return [load_padded(load, group * GROUP + i * 4, width, GROUP, offset=i * 4) for i in range(8)]

    if norm is None:
        (wg,), tid = k.launch([T.ceildiv(n * groups, _THREADS)], _THREADS)
        item = k.let(wg * _THREADS + tid, "item")
        with k.when(item < n * groups):
            row, group = k.let(item // groups, "row"), k.let(item % groups, "group")
            store(values(lambda at: load4(x, row, at), group), row, group)
        return k.finish()

    (row,), tid = k.launch([n], _THREADS)
    sums = k.local(1, name="sums")
    k.store(sums, 0, f32(0.0))
    with k.loop(T.ceildiv(width // 4 - tid, _THREADS)) as i:
        value = k.let(load4(x, row, (i * _THREADS + tid) * 4), "x4")
        k.store(sums, 0, sums[0] + call("float32", "dot", value, value))
    total = reduce_rows(k, tier, tid, sums, 1, _THREADS)(0)
    factor = k.local(1, name="factor")
    k.store(factor, 0, T.rsqrt(total / float(width) + f32(norm.epsilon)))

    def normed(column: Any) -> Any:
        return load4(x, row, column) * splat(factor[0]) * weight.four(k, column)

    with k.loop(T.ceildiv(groups - tid, _THREADS)) as i:
        group = k.let(i * _THREADS + tid, "group")
        store(values(normed, group), row, group)
    return k.finish()


def _quantize_group(
    k: KernelBuilder, values: list[Any], row: Any, group: Any, codes: Any, scales: Any, paired: bool
) -> None:
    kept = k.local(8, "float32x4", name="values")
    top = k.local(1, "float32x4", name="top")
    k.store(top, 0, splat(f32(0.0)))
    for i, value in enumerate(values):
        k.store(kept, i, value)
        k.store(top, 0, call("float32x4", "max", top[0], call("float32x4", "abs", kept[i])))
    largest, factor = k.local(1, name="largest"), k.local(1, name="factor")
    k.store(
        largest, 0, T.max(T.max(lane(top[0], 0), lane(top[0], 1)), T.max(lane(top[0], 2), lane(top[0], 3)))
    )
    k.store(factor, 0, T.Select(largest[0] > f32(0.0), f32(127.0) / largest[0], f32(0.0)))
    k.store(scales, [row, group], largest[0] * f32(1.0 / 127.0))
    rounded = k.local(8, "int32x4", name="rounded")
    for i in range(8):
        k.store(
            rounded, i, call("int32x4", "vec4<i32>", call("float32x4", "round", kept[i] * splat(factor[0])))
        )
    for half in range(2):  # a vector of four words
        words = []
        for pair in range(2):
            low, high = rounded[half * 4 + pair * 2], rounded[half * 4 + pair * 2 + 1]
            if not paired:
                words += [call("uint32", "pack4xI8", four) for four in (low, high)]
                continue
            for first in (0, 1):
                lanes = [lane(low, first), lane(low, first + 2), lane(high, first), lane(high, first + 2)]
                words.append(call("uint32", "pack4xI8", T.Shuffle(lanes, [0, 1, 2, 3])))
        k.store(codes, [row, ramp4(group * (GROUP // 4) + half * 4)], T.Shuffle(words, [0, 1, 2, 3]))
