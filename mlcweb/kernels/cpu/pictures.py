"""What prompts with pictures need besides: RoPE's angles by places along several axes, and rows that layers add."""

from __future__ import annotations

from tvm import tirx

from mlcweb.kernels.attention.angles import AngleWriter, Sections
from mlcweb.kernels.cpu.builder import CpuKernel
from mlcweb.kernels.language.builder import dynamic, kernel, load4, ramp4
from mlcweb.kernels.layouts.storage import Values


@kernel
def angles(coarse: Values, sections: Sections) -> tirx.PrimFunc:
    """Kernel ``angles[n, P]``: cosines of each token's pairs, then sines, float32.

    Arguments: axes int32 ``[n, 4]``, RoPE's tables, of which ``coarse`` is the first, angles.
    """
    k = CpuKernel("angles")
    angle = AngleWriter(k, coarse, sections)
    row = k.parallel(angle.tokens)
    with k.loop(angle.half) as pair:
        angle.write(row, pair)
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
