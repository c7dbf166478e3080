"""What prompts with pictures need besides: RoPE's angles by places along several axes, and rows that layers add."""

from __future__ import annotations

from tvm import tirx

from mlcweb.contract.constants import Axes
from mlcweb.kernels.attention.angles import Sections
from mlcweb.kernels.cpu.builder import CpuKernel
from mlcweb.kernels.language.builder import dynamic, kernel, load4, ramp4
from mlcweb.kernels.language.expr import T
from mlcweb.kernels.layouts.kv_cache import ROPE_FINE
from mlcweb.kernels.layouts.storage import Values


@kernel
def angles(coarse: Values, sections: Sections) -> tirx.PrimFunc:
    """Kernel ``angles[n, P]``: cosines of each token's pairs, then sines, float32.

    Arguments: axes int32 ``[n, 4]``, RoPE's tables, of which ``coarse`` is the first, angles.
    """
    k, n, head_dim = CpuKernel("angles"), dynamic("n"), coarse.columns
    half = head_dim // 2
    axes = k.buffer("axes", (n, Axes.WORDS), "int32")
    first = k.buffer("rope_coarse", (coarse.rows, head_dim), "float32")
    fine = k.buffer("rope_fine", (ROPE_FINE, head_dim), "float32")
    out = k.output("angles", (n, head_dim), "float32")
    row = k.parallel(n)
    with k.loop(half) as pair:
        position = k.let(axes[row, k.let(sections.axis(pair), "axis")], "position")
        at, rest = T.shift_right(position, 6), T.bitwise_and(position, ROPE_FINE - 1)
        c1, s1 = k.let(first[at, pair], "c1"), k.let(first[at, pair + half], "s1")
        c2, s2 = k.let(fine[rest, pair], "c2"), k.let(fine[rest, pair + half], "s2")
        k.store(out, [row, pair], c1 * c2 - s1 * s2)
        k.store(out, [row, pair + half], s1 * c2 + c1 * s2)
    return k.finish()


@kernel
def add_images(width: int, all_widths: int) -> tirx.PrimFunc:
    """Kernel ``x[n, D] += images[:, part * D : (part + 1) * D]`` where a token is below 0, which stands for a row of a
    picture.

    Arguments: tokens int32 ``[n]``, images ``[n, all_widths]``, x (written), part.
    """
    k, n = CpuKernel("add_images"), dynamic("n")
    tokens = k.buffer("tokens", (n,), "int32")
    images = k.buffer("images", (n, all_widths), "float32")
    x = k.in_place("x", (n, width), "float32")
    part = k.scalar("part")
    row = k.parallel(n)
    with k.when(tokens[row] < 0), k.loop(width // 4) as quad:
        added = load4(images, row, part * width + quad * 4)
        k.store(x, [row, ramp4(quad * 4)], load4(x, row, quad * 4) + added)
    return k.finish()
