"""Makes each kernel of a module once. Its key is everything that it is made of, so two that differ cannot be one."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec

from tvm import tirx
from tvm.relax.frontend import nn

P = ParamSpec("P")


class KernelMemo:
    """Kernels by the function that makes them and all of its arguments, those left to their defaults too.

    A weight counts by how it is stored, not by which it is: kernels of equal storage are the same kernel.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, tirx.PrimFunc] = {}

    def __call__(
        self, make: Callable[P, tirx.PrimFunc], /, *args: P.args, **options: P.kwargs
    ) -> tirx.PrimFunc:
        """``make(*args, **options)``, made at the first call. Raises TypeError for an argument that can be no key."""
        bound = _signature(make).bind(*args, **options)
        bound.apply_defaults()
        key = make, tuple((name, described(value)) for name, value in bound.arguments.items())
        if key not in self._made:
            self._made[key] = make(*args, **options)
        return self._made[key]


@functools.cache
def _signature(make: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(make)


def described(value: Any) -> Hashable:
    """All that a kernel can depend on in an argument; equal for arguments of which equal kernels are made.

    Of a weight that is everything but where it comes from, with its tensors' shapes and types in their places.
    """
    if isinstance(value, nn.Tensor):
        return tuple(str(extent) for extent in value.shape), str(value.dtype)
    if isinstance(value, nn.Module):
        attributes = {name: item for name, item in vars(value).items() if name != "origin"}
        return type(value), tuple((name, described(item)) for name, item in attributes.items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value), tuple(described(getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, (tuple, list)):
        return tuple(described(item) for item in value)
    if isinstance(value, (str, int, float, bool, type(None))):
        # 1, 1.0 and True are equal, and so would be their kernels
        return type(value), value
    raise TypeError(f"a kernel's argument is a {type(value).__name__}, which does not say what it is")
