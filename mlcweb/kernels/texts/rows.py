"""Reads keys and values of texts side by side where the KV cache has pages."""

from __future__ import annotations

from dataclasses import dataclass

from mlcweb.kernels.language.builder import load4
from mlcweb.kernels.language.expr import Buffer, Expr, Index, T
from mlcweb.kernels.layouts.kv_cache import HeadLayout


@dataclass(frozen=True)
class Rows:
    """Keys and values where the KV cache has pages: ``page`` is the first token of 16, wherever that is."""

    qkv: Buffer
    layout: HeadLayout
    n: Index

    def key4(self, page: Index, head: Index, slot: Index, quad: Index) -> Expr:
        return self._four(page + slot, self.layout.heads + head, quad)

    def value4(self, page: Index, head: Index, slot: Index, quad: Index) -> Expr:
        return self._four(page + slot, self.layout.heads + self.layout.kv_heads + head, quad)

    def _four(self, token: Index, head: Index, quad: Index) -> Expr:
        return load4(self.qkv, T.min(token, self.n - 1), head * self.layout.head_dim + quad * 4)
