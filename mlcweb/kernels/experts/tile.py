"""Finds the rows that a tile of an experts' product reads and writes: those of its slots, all of one expert."""

from mlcweb.kernels.experts.route import tiles_of
from mlcweb.kernels.experts.weights import ExpertRange
from mlcweb.kernels.language.builder import KernelBuilder
from mlcweb.kernels.language.expr import Expr, T


class SlotRows:
    """A kernel's arguments ids i32 ``[n, X]`` and slots i32 ``[tiles * rows]``, for tiles of ``rows`` rows."""

    def __init__(self, k: KernelBuilder, n: Expr, experts: ExpertRange, rows: int) -> None:
        self.experts, self.rows = experts, rows
        self.tiles = tiles_of(n, experts.total, experts.experts_per_token, rows)
        self.ids = k.buffer("ids", (n, experts.experts_per_token), "int32")
        self.slots = k.buffer("slots", (self.tiles * rows,), "int32")

    def begin(self, k: KernelBuilder, tile: Expr, tid: Expr, *, from_pairs: bool) -> Expr:
        """Leave unless the tile's expert is in the range; returns its place there. x has a row a pair or a token."""
        experts_per_token = self.experts.experts_per_token
        self.first = k.let(tile * self.rows, "first_slot")
        pair = k.let(self.slots[self.first], "pair")
        k.only(pair >= 0)
        expert = k.let(
            self.ids[pair // experts_per_token, pair % experts_per_token] - self.experts.first, "expert"
        )
        k.only(T.And(expert >= 0, expert < self.experts.count))
        # a slot that holds no pair reads what pair 0 does, and is not written
        self.sources = k.shared(self.rows, "int32", name="sources")
        for start in range(0, self.rows, k.threads):
            with k.when(start + tid < self.rows):
                slot = T.max(self.slots[self.first + start + tid], 0)
                k.store(self.sources, start + tid, slot if from_pairs else slot // experts_per_token)
        k.barrier()
        return expert

    def source(self, row: Expr) -> Expr:
        """The row of x of a row of the tile."""
        return self.sources[row]

    def pair(self, row: Expr) -> Expr:
        """The row of y of a row of the tile, or -1."""
        return self.slots[self.first + row]
