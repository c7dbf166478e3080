"""A kernel on subgroup matrices, spelled out: what one does to workgroup memory, on any GPU with float16.

No browser that tests run in offers subgroup matrices. Here each of 32 threads has eight elements of a result, and the
factors stay where they are in workgroup memory, until they are multiplied.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from mlcweb.kernels.products.matmul_matrix import NEEDS
from mlcweb.lower import LoweredKernel

SPELLED_OUT_NEEDS: dict[str, Any] = {"features": NEEDS["features"][1:], "limits": NEEDS["limits"]}

_FUNCTIONS = """
struct Factor { at : u32, pitch : u32 }
var<private> spelled_lane : u32;
var<private> spelled_unit : u32; // 16, which the compiler must not know: it would unroll the loops
fn element(factor : Factor, line : u32, depth : u32) -> f32 {
  let pair = unpack2x16float(tiles[factor.at + line * factor.pitch + depth / 8u][depth % 8u / 2u]);
  return select(pair.x, pair.y, depth % 2u == 1u);
}
fn multiply_accumulate(left : Factor, right : Factor, sums : array<f32, 8>) -> array<f32, 8> {
  var result = sums;
  for (var i = 0u; i < spelled_unit / 2u; i++) {
    let line = (spelled_lane + i * 32u) / 16u;
    let column = (spelled_lane + i * 32u) % 16u;
    for (var depth = 0u; depth < spelled_unit; depth++) {
      result[i] += element(left, line, depth) * element(right, column, depth);
    }
  }
  return result;
}
fn store(at : u32, sums : array<f32, 8>, pitch : u32) {
  for (var i = 0u; i < spelled_unit / 2u; i++) {
    let line = (spelled_lane + i * 32u) / 16u;
    let column = (spelled_lane + i * 32u) % 16u;
    tiles[at + line * pitch + column / 4u][column % 4u] = bitcast<u32>(sums[i]);
  }
}
"""


def spelled_out(kernel: LoweredKernel) -> LoweredKernel:
    """``kernel`` without subgroup matrices; it needs ``SPELLED_OUT_NEEDS``."""
    return dataclasses.replace(kernel, wgsl=spelled_out_wgsl(kernel.wgsl))


def spelled_out_wgsl(wgsl: str) -> str:
    """A kernel's WGSL without subgroup matrices."""
    for pattern, text in [
        (r"enable chromium_experimental_subgroup_matrix;\n|diagnostic\(off, .*\);\n", ""),
        (r"subgroup_matrix_result<f32, 16, 16>", "array<f32, 8>"),
        (r"subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>\(&tiles, ", "Factor("),
        (r"subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>\(&tiles, ", "Factor("),
        (r"subgroupMatrixMultiplyAccumulate\(", "multiply_accumulate("),
        (r"subgroupMatrixStore<row_major>\(&tiles, ", "store("),
        (
            r"(\) \{\n  if \(blockIdx)",
            r") {\n  spelled_lane = threadIdx.x % 32u;\n  spelled_unit = 16u + u32(podArgs.n < 0i);\n  if (blockIdx",
        ),
    ]:
        wgsl, count = re.subn(pattern, text, wgsl)
        assert count, pattern
    assert "ubgroupMatrix" not in wgsl
    return wgsl + _FUNCTIONS
