"""Reads the KV cache's pages with vectors where they hold float16."""

from __future__ import annotations

from typing import Any

from mlcweb.kernels.cpu.builder import CpuKernel
from mlcweb.kernels.cpu.elementary import half_to_float
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.kv_cache import PAGE_SIZE, KVCache


class Pages:
    """A layer's keys and values, read by four elements as ``KVCache`` lays them out."""

    def __init__(self, k: CpuKernel, kv: KVCache) -> None:
        """To be made after ``parallel``."""
        self.k, self.kv, self.layout = k, kv, kv.layout
        packed: Any = kv.buffer
        self.halves = k.view(packed, "uint16") if self.layout.word == 2 else None

    def key4(self, page: Index, head: Index, slot: Index, quad: Index) -> Expr:
        """float32x4: as ``KVCache.key4``."""
        if self.halves is None:
            return self.kv.key4(page, head, slot, quad)
        place = (T.shift_right(quad, 1) * PAGE_SIZE + slot) * 8 + T.bitwise_and(quad, 1) * 4
        return self._four(self.halves, page, 0, head, place)

    def value4(self, page: Index, head: Index, slot: Index, quad: Index) -> Expr:
        """float32x4: as ``KVCache.value4``."""
        if self.halves is None:
            return self.kv.value4(page, head, slot, quad)
        return self._four(self.halves, page, 1, head, slot * self.layout.head_dim + quad * 4)

    def _four(self, halves: Buffer, page: Index, part: int, head: Index, place: Index) -> Expr:
        row = (page * 2 + part) * self.layout.kv_heads + head
        at = row * (PAGE_SIZE * self.layout.head_dim) + place
        return half_to_float(self.k.let, T.Cast("uint32x4", halves[T.Ramp(at, 1, 4)]), 4)
