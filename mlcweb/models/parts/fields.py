"""Reads config.json's keys with errors that name them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mlcweb.errors import CheckpointError, UnsupportedError

REQUIRED: Any = object()  # the default of a key that has none

# Far more than any model has. Whatever a config.json says, reading it takes little time and memory: how its sizes fit
# the tensors is only seen afterwards.
_MAX = {
    **dict.fromkeys(("num_hidden_layers", "n_layer"), 1024),
    **dict.fromkeys(("hidden_size", "n_embd", "intermediate_size", "n_inner", "head_dim"), 1 << 20),
    "vocab_size": 1 << 24,
}
_MAX_INT32 = (1 << 31) - 1  # what a kernel's integers hold


class Fields:
    """A config.json. Every reader raises CheckpointError for a value that is missing or of another kind."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def count(self, key: str, default: Any = REQUIRED) -> int:
        """A positive integer; null counts as missing."""
        value = self._get(key, default)
        if not (isinstance(value, int) and not isinstance(value, bool)) and not (
            isinstance(value, float) and value.is_integer()
        ):
            raise _unusable(key, value, "a whole number")
        if not 0 < value <= _MAX.get(key, _MAX_INT32):
            raise CheckpointError(f"config.json: {key} is {shown(value)}, which no model has")
        return int(value)

    def count_or_0(self, key: str, default: int) -> int:
        """As ``count``, or 0."""
        value = self._get(key, default)
        return 0 if value == 0 and not isinstance(value, bool) else self.count(key, default)

    def number(self, key: str, default: Any = REQUIRED) -> float:
        """A positive number; null counts as missing."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _unusable(key, value, "a number")
        if not is_positive(value):
            raise CheckpointError(f"config.json: {key} is {shown(value)}, which no model has")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false; null counts as missing."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise _unusable(key, value, "true or false")
        return value

    def optional(self, key: str) -> int | None:
        """A positive integer, or None where it is missing or null."""
        return None if self.config.get(key) is None else self.count(key)

    def only(self, key: str, *supported: Any) -> Any:
        """One of the values ``supported``, the first where it is missing; raises UnsupportedError for others."""
        value = self._get(key, supported[0])
        if value not in supported:
            raise UnsupportedError(
                f"config.json has {key} = {shown(value)}, which is not supported; "
                f"only {', '.join(map(repr, supported))}"
            )
        return value

    def layer_types(self, default: Sequence[str], *others: str) -> tuple[str, ...]:
        """What each layer is, ``full_attention`` or one of ``others``; where config.json does not say, ``default``."""
        kinds = self.config.get("layer_types")
        if kinds is None:
            kinds = list(default)
        if not isinstance(kinds, list) or len(kinds) != len(default):
            raise CheckpointError(
                f"config.json: layer_types needs one entry for each of {len(default)} layers"
            )
        for kind in kinds:
            if kind not in ("full_attention", *others):
                raise UnsupportedError(
                    f"config.json has a layer of the type {shown(kind)}, which is not supported"
                )
        return tuple(kinds)

    def sliding_layers(self, sliding: Sequence[bool]) -> tuple[bool, ...]:
        """Which layers see a window, by ``layer_types``; where it is missing, ``sliding``, an entry a layer."""
        other = "sliding_attention"
        default = [other if slides else "full_attention" for slides in sliding]
        return tuple(kind == other for kind in self.layer_types(default, other))

    def _get(self, key: str, default: Any) -> Any:
        value = self.config.get(key)
        if value is None:
            value = default
        if value is REQUIRED:
            raise CheckpointError(
                f"config.json lacks {key}",
                hint="Is it the config.json that was published with these weights?",
            )
        return value


def _unusable(key: str, value: Any, expected: str) -> CheckpointError:
    return CheckpointError(f"config.json: {key} is {shown(value)}, not {expected}")


def is_positive(value: Any) -> bool:
    """Whether a float can hold it, and it is above zero: JSON has 1e999 and, as Python reads it, NaN."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and 0 < value <= sys.float_info.max
        and math.isfinite(value)
    )


def shown(value: Any) -> str:
    """A value of a config.json in an error's message."""
    try:
        text = repr(value)
    except ValueError:  # more digits than Python prints
        return "a number of thousands of digits"
    return text if len(text) <= 80 else text[:80] + "…"


def multiple_of(key: str, value: int, divisor: int) -> None:
    """Raise UnsupportedError unless ``divisor`` divides ``value``, as the kernels need."""
    if value % divisor:
        raise UnsupportedError(f"{key} {value} is not supported: it must be a multiple of {divisor}")
