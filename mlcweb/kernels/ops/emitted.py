"""Notes which operation a launch is for while a model's forward emits it: kernels are shared, so names do not tell."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass

_layer: ContextVar[int | None] = ContextVar("layer", default=None)
_op: ContextVar[str | None] = ContextVar("op", default=None)


@dataclass(frozen=True)
class Emitted:
    """A call of the PrimFunc ``kernel``, for the operation ``op`` of a layer, or of none."""

    kernel: str
    op: str
    layer: int | None


@contextmanager
def in_layer(index: int) -> Iterator[None]:
    """What is emitted inside belongs to this layer."""
    token: Token[int | None] = _layer.set(index)
    try:
        yield
    finally:
        _layer.reset(token)


@contextmanager
def for_operation(op: str) -> Iterator[None]:
    """The call that is emitted inside is of this operation, such as ``qkv``."""
    token: Token[str | None] = _op.set(op)
    try:
        yield
    finally:
        _op.reset(token)


def emitted(kernel: str) -> Emitted:
    """The call of ``kernel`` that is being emitted. Raises LookupError outside of an operation."""
    op = _op.get()
    if op is None:
        raise LookupError(f"{kernel} is called, and not by ops.launch")
    return Emitted(kernel, op, _layer.get())
