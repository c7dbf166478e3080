"""Describes how an attention layer scores keys for a query, and which tokens a query sees."""

from dataclasses import dataclass, replace

from mlcweb.kernels.language.builder import KernelBuilder, bits, f32, log, u32
from mlcweb.kernels.language.expr import Expr, Index, T


@dataclass(frozen=True)
class Growth:
    """Queries grow with their position: by ``1 + beta * log(1 + floor(position / length))``."""

    beta: float
    length: int

    def at(self, position: Expr) -> Expr:
        """The factor of the query at ``position``, float32."""
        spans = T.Cast("float32", position // self.length + 1)
        return f32(1.0) + f32(self.beta) * log(spans)


@dataclass(frozen=True)
class Scoring:
    """``score = scale * q · k``, then ``cap * tanh(score / cap)`` if there is a cap; scales may have a ``growth``.

    With a ``window`` a token sees itself and the ``window - 1`` tokens before it, else all tokens before it; and as
    many after it if it looks ``ahead``, which only the tokens of a whole text can. With ``windows`` a patch sees those
    of its window of a picture alone.
    """

    scale: float
    cap: float | None = None
    window: int | None = None
    growth: Growth | None = None
    ahead: bool = False
    windows: bool = False

    def __post_init__(self) -> None:
        if self.cap is not None and not self.cap > 0:
            raise ValueError(f"attention's cap of scores is {self.cap}, which must be above 0")
        if self.window is not None and self.window < 1:
            raise ValueError(f"attention's window is {self.window} tokens, which must be at least 1")

    def within(self, context: int) -> "Scoring":
        """The same for a context of so many tokens: a window that holds all of it is none, nor has growth begun."""
        window = None if self.window is None or self.window >= context else self.window
        growth = None if self.growth is None or self.growth.length >= context else self.growth
        return replace(self, window=window, growth=growth)

    def scale_at(self, position: Expr) -> Expr:
        """What the query at ``position`` is multiplied by, float32."""
        return f32(self.scale) if self.growth is None else f32(self.scale) * self.growth.at(position)

    def say_window(self, k: KernelBuilder) -> None:
        """Tell the profiler that a kernel reads the last ``window`` tokens of the KV cache, if there is a window."""
        if self.window is not None:
            k.reads(window=self.window)

    def begin(self, k: KernelBuilder, position: Expr, multiple: int) -> Index:
        """The first token that the token at ``position`` sees, rounded down to a multiple, which is a power of 2."""
        if self.window is None:
            return 0
        origin = k.local(1, "int32", name="origin")  # not `let`, which TVM would write out at each use
        k.store(origin, 0, T.bitwise_and(T.max(position - (self.window - 1), 0), -multiple))
        return origin[0]

    def first(self, position: Expr) -> Index:
        """The first token that the token at ``position`` sees; below 0 it is all."""
        return 0 if self.window is None else position - (self.window - 1)

    def sees(self, position: Expr, token: Expr, end: Expr | None = None) -> Expr:
        """Whether the token at ``position`` sees ``token``, of those before ``end`` or, without one, up to itself."""
        if end is not None:
            first = self.first(position)
            return bits("uint32", token - first) < bits("uint32", end - first)
        if self.window is None:
            return token <= position
        # one comparison, in which tokens ahead are far away: SwiftShader compiles 32 `&&` for minutes
        return bits("uint32", position - token) < u32(self.window)
