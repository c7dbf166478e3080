"""What a launch is for, noted while a model's forward emits it: kernels are shared, so their names do not tell."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from mlcweb.contract.constants import ENTRIES

_layer: ContextVar[int | None] = ContextVar("layer", default=None)


@dataclass(frozen=True)
class Emitted:
    """A call of the PrimFunc ``kernel``, for the operation ``op`` of a layer, or of none."""

    kernel: str
    op: str
    layer: int | None


@contextmanager
def in_layer(index: int) -> Iterator[None]:
    """What is emitted inside belongs to this layer."""
    token = _layer.set(index)
    try:
        yield
    finally:
        _layer.reset(token)


def emitted(kernel: str, name: str) -> Emitted:
    """A call of ``kernel`` that an operation emits as ``name``: an entry's name, and its own."""
    entry = max((row.name for row in ENTRIES if name.startswith(f"{row.name}_")), key=len)
    return Emitted(kernel, name.removeprefix(f"{entry}_"), _layer.get())
