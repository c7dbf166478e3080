"""Writes as WGSL what TVM cannot express of products on subgroup matrices: directives, functions, statements."""

from __future__ import annotations

from dataclasses import dataclass

from mlcweb.quantize.formats import Format

UNIT = 16  # rows, columns and depth of a subgroup matrix

DIRECTIVES = """\
enable f16;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);
"""

_DEQUANTIZE = """\
fn dequantize(word : u32, scale : f32%(argument)s) -> vec4<u32> {
  let codes = (vec4<u32>(word, word >> 4u, word >> 8u, word >> 12u) & vec4<u32>(0x000f000fu)) | vec4<u32>(0x64006400u);
  let zero = vec2<f16>(%(zero)d.0h);
  let scales = vec2<f16>(f16(scale));
%(minimums)s  return vec4<u32>(
    bitcast<u32>((bitcast<vec2<f16>>(codes.x) - zero) * scales%(add)s),
    bitcast<u32>((bitcast<vec2<f16>>(codes.y) - zero) * scales%(add)s),
    bitcast<u32>((bitcast<vec2<f16>>(codes.z) - zero) * scales%(add)s),
    bitcast<u32>((bitcast<vec2<f16>>(codes.w) - zero) * scales%(add)s));
}
"""


def dequantize(form: Format) -> str:
    """A nibble in a float16's mantissa is 1024 + code; eight weights, in the order of ``float16_rows``."""
    minimum = {
        "argument": ", minimum : f32",
        "minimums": "  let minimums = vec2<f16>(f16(minimum));\n",
        "add": " + minimums",
    }
    return _DEQUANTIZE % {
        "zero": 1024 + form.zero,
        **(minimum if form.minimum else dict.fromkeys(minimum, "")),
    }


@dataclass(frozen=True)
class Tile:
    """A workgroup's outputs, ``depth`` of the inner axis at a time; a subgroup has a quarter of them."""

    rows: int
    columns: int
    depth: int

    @property
    def vectors(self) -> int:
        """Of eight float16, in a row's part of a stage."""
        return self.depth // 8

    @property
    def pitch(self) -> int:
        """Vectors from one row to the next: one more, which spreads them over the banks."""
        return self.vectors + 1


def _units(tile: Tile) -> list[tuple[int, int]]:
    """A subgroup's matrices."""
    return [(i, j) for i in range(tile.rows // 2 // UNIT) for j in range(tile.columns // 2 // UNIT)]


def declare(tile: Tile) -> str:
    return "\n".join(
        f"var sums_{i}_{j} : subgroup_matrix_result<f32, {UNIT}, {UNIT}>;" for i, j in _units(tile)
    )


def multiply(tile: Tile) -> str:
    """Of the subgroup ``$0``: what is in workgroup memory onto its sums."""
    rows, columns, pitch = tile.rows // 2, tile.columns // 2, tile.pitch
    half = f"subgroup_matrix_{{}}<f16, {UNIT}, {UNIT}>, {{}}_major"
    left, right = half.format("left", "row"), half.format("right", "col")
    lines = [
        "let mine = subgroupBroadcastFirst(u32($0));",
        f"let left_at = mine / 2u * {rows * pitch}u;",
        f"let right_at = {tile.rows * pitch}u + mine % 2u * {columns * pitch}u;",
    ]
    for depth in range(0, tile.depth, UNIT):
        lines.append("{")
        for i in range(rows // UNIT):
            at = f"left_at + {i * UNIT * pitch + depth // 8}u"
            lines.append(f"let left_{i} = subgroupMatrixLoad<{left}>(&tiles, {at}, {pitch}u);")
        for j in range(columns // UNIT):
            at = f"right_at + {j * UNIT * pitch + depth // 8}u"
            lines.append(f"let right_{j} = subgroupMatrixLoad<{right}>(&tiles, {at}, {pitch}u);")
            lines += [
                f"sums_{i}_{j} = subgroupMatrixMultiplyAccumulate(left_{i}, right_{j}, sums_{i}_{j});"
                for i in range(rows // UNIT)
            ]
        lines.append("}")
    return "\n".join(["{", *lines, "}"])


def store(tile: Tile, strip: int) -> str:
    """Of the subgroup ``$0``: 16 rows of its sums to its part of workgroup memory, in vectors of four."""
    across = tile.columns // 2 // 4
    lines = [f"let to = subgroupBroadcastFirst(u32($0)) * {UNIT * across}u;"]
    lines += [
        f"subgroupMatrixStore<row_major>(&tiles, to + {j * UNIT // 4}u, sums_{strip}_{j}, {across}u);"
        for j in range(tile.columns // 2 // UNIT)
    ]
    return "\n".join(["{", *lines, "}"])
