"""Unpacks float16 and bfloat16, which lie in pairs in uint32 words, to float32."""

from mlcweb.kernels.language.builder import bits, call, lane, u32
from mlcweb.kernels.language.expr import Expr, Index, T


def low_half(word: Expr) -> Expr:
    """The float32 value of the lower 16 bits of a uint32 that holds float16s."""
    return lane(call("float32x2", "unpack2x16float", word), 0)


def half_at(word: Expr, index: Index) -> Expr:
    """The float32 value of element ``index`` of packed float16s, in their uint32."""
    return low_half(T.shift_right(word, u32(T.bitwise_and(index, 1) * 16)))


def unpack_half4(low: Expr, high: Expr) -> Expr:
    """Two uint32 of packed float16 → float32x4."""
    pairs = [call("float32x2", "unpack2x16float", word) for word in (low, high)]
    return T.Shuffle([lane(p, i) for p in pairs for i in (0, 1)], [0, 1, 2, 3])


def unpack_bfloat4(low: Expr, high: Expr) -> Expr:
    """Two uint32 of packed bfloat16 → float32x4."""
    floats = [
        value
        for word in (low, high)
        for value in (T.shift_left(word, u32(16)), T.bitwise_and(word, u32(0xFFFF0000)))
    ]
    return bits("float32x4", T.Shuffle(floats, [0, 1, 2, 3]))
