"""Computes RoPE's inverse frequencies for Hugging Face's ``rope_scaling`` types, and the order of rows for kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.kernels.attention.angles import Sections
from mlcweb.models.parts.fields import is_positive, multiple_of, shown

F64 = npt.NDArray[np.float64]

_MAX_POSITIONS = (1 << 31) - 1

TYPES = ("default", "linear", "dynamic", "yarn", "llama3", "longrope", "proportional")


@dataclass(frozen=True)
class RopeSettings:
    """What turns a head's first ``dims`` of ``head_dim`` dimensions; ``scaling`` is config.json's rope_scaling.

    ``longest`` is config.json's max_position_embeddings, ``original`` that before a context was extended.
    ``neighbours``: a pair is two dimensions side by side, not half a head apart. ``sections``: the axes along which
    tokens have places, and which pairs turn along each; ``anew``: the frequencies begin anew along each.
    """

    head_dim: int
    dims: int
    theta: float
    scaling: Mapping[str, Any] | None
    longest: int
    original: int | None = None
    neighbours: bool = False
    sections: Sections | None = None
    anew: bool = False

    @classmethod
    def from_hf(
        cls,
        config: Mapping[str, Any],
        head_dim: int,
        longest: int,
        *,
        theta: float = 10000.0,
        rotary_fraction: float = 1.0,
        parameters: Mapping[str, Any] | None = None,
    ) -> RopeSettings:
        """Read a config.json; ``theta`` and ``rotary_fraction`` (the part of a head that turns) are the architecture's
        defaults.

        transformers 5 keeps theta, fraction and scaling in ``rope_parameters``, older ones apart. ``parameters``
        replaces both. Raises CheckpointError or UnsupportedError for a scaling that is not usable.
        """
        rope = parameters if parameters is not None else config.get("rope_parameters")
        scaling = rope or config.get("rope_scaling")
        if scaling is not None and not isinstance(scaling, Mapping):
            raise CheckpointError(f"config.json: rope_scaling is {shown(scaling)}, not an object")
        known = {"rope_theta": theta, "partial_rotary_factor": rotary_fraction}
        for key in known:
            for place in (rope or {}, config if parameters is None else {}):
                if place.get(key) is not None:
                    known[key] = _number(place, key)
                    break
        original = config.get("original_max_position_embeddings")
        if known["partial_rotary_factor"] > 1:
            raise CheckpointError(
                f"config.json: RoPE turns {known['partial_rotary_factor']} of a head, not a part"
            )
        if (scaling or {}).get("rope_type") == "proportional":
            known["partial_rotary_factor"] = 1.0  # all pairs turn, those past the part by nothing
        result = cls(
            head_dim,
            int(head_dim * known["partial_rotary_factor"]),
            known["rope_theta"],
            scaling or None,
            longest,
            None if original is None else int(_number(config, "original_max_position_embeddings")),
        )
        if not 0 < result.dims <= head_dim or result.dims % 2:
            raise UnsupportedError(
                f"config.json: RoPE turns {result.dims} of {head_dim} dimensions of a head"
            )
        result.frequencies(longest)  # refuses a scaling that it does not know
        return result

    @classmethod
    def of_two_kinds(
        cls,
        config: Mapping[str, Any],
        head_dim: int,
        longest: int,
        *,
        theta: float,
        local: Mapping[str, Any] | None = None,
    ) -> tuple[RopeSettings, RopeSettings]:
        """Of layers that see everything, and of those with a window, which have no scaling.

        transformers 5 keeps both in ``rope_parameters`` by the layers' types; before, ``rope_scaling`` was for the
        first alone. ``local`` is what the second has where nothing is said, by default ``rope_theta`` too.
        """
        nested = config.get("rope_parameters")
        if isinstance(nested, Mapping) and not {"full_attention", "sliding_attention"}.isdisjoint(nested):
            thetas = (theta, (local or {}).get("rope_theta", theta))
            both = zip(("full_attention", "sliding_attention"), thetas, strict=True)
            first, second = (
                cls.from_hf(config, head_dim, longest, theta=default, parameters=nested.get(kind) or {})
                for kind, default in both
            )
            return first, second
        first = cls.from_hf(config, head_dim, longest, theta=theta)
        return first, cls.from_hf(config, head_dim, longest, parameters=local or {"rope_theta": first.theta})

    @classmethod
    def none(cls, head_dim: int, longest: int = 1) -> RopeSettings:
        """For an architecture without RoPE, or for the layers that have none, of contexts of ``longest``."""
        return cls(head_dim, 0, 1.0, None, longest)

    @classmethod
    def by_line_and_column(cls, head_dim: int, theta: float, longest: int) -> RopeSettings:
        """Of a tower's heads, one half of whose pairs turn by a patch's line, the other by its column; neither is
        ``longest`` or more.
        """
        multiple_of("a head of the tower, of the size", head_dim, 8)
        quarter = head_dim // 4
        return cls(head_dim, head_dim, theta, None, longest, sections=Sections((quarter, quarter)), anew=True)

    @property
    def kind(self) -> str:
        """The scaling's type."""
        if self.scaling is None:
            return "default"
        kind = self.scaling.get("rope_type", self.scaling.get("type", "default"))
        # "su" is longrope's name of before, and of text all of mrope's positions are one
        return {"su": "longrope", "mrope": "default"}.get(str(kind), str(kind))

    @property
    def longest_context(self) -> int:
        """The longest context that it is made for: a scaling by ``factor`` may extend what config.json says."""
        if self.scaling is None or self.kind not in ("linear", "dynamic", "yarn"):
            return self.longest
        original = self.longest
        if self.kind == "yarn":
            original = int(_number(self.scaling, "original_max_position_embeddings", self.longest))
        return max(self.longest, int(min(original * _number(self.scaling, "factor"), _MAX_POSITIONS)))

    def frequencies(self, context: int) -> tuple[F64, float]:
        """Radians a position ``[dims / 2]``, and the factor of cosines and sines, for contexts of ``context``.

        ``dynamic`` and ``longrope`` depend on a context's length, which transformers takes anew at every step, and
        a compiled model when it is compiled. Raises UnsupportedError for an unknown type, CheckpointError for one
        that lacks a number.
        """
        dims = self.dims // 2 if self.anew else self.dims
        base = self.theta ** (-np.arange(0, dims, 2, dtype=np.float64) / max(dims, 1))
        base = np.tile(base, 2) if self.anew else base
        if self.scaling is None or self.kind == "default":
            return base, 1.0
        if self.kind not in TYPES:
            raise UnsupportedError(
                f"rope_scaling type {self.kind!r} is not supported; known: {', '.join(TYPES)}",
                hint="Only checkpoints with these RoPE scalings can be compiled.",
            )
        try:
            with np.errstate(all="ignore"):
                scaled, scale = getattr(self, f"_{self.kind}")(self.scaling, base, context)
        except ArithmeticError:  # such as a division by zero
            scaled, scale = base, math.nan
        if not np.isrealobj(scaled) or not np.isfinite(scaled).all() or not math.isfinite(scale):
            raise CheckpointError("config.json: the numbers of rope_scaling make no frequencies")
        return scaled, scale

    def _linear(self, scaling: Mapping[str, Any], base: F64, context: int) -> tuple[F64, float]:
        """Positions divided by ``factor``."""
        return base / _number(scaling, "factor"), 1.0

    def _dynamic(self, scaling: Mapping[str, Any], base: F64, context: int) -> tuple[F64, float]:
        """A larger theta for contexts longer than the model's (NTK-aware scaling)."""
        factor, dims = _number(scaling, "factor"), self.dims
        length = max(context, self.longest)
        theta = self.theta * (factor * length / self.longest - (factor - 1)) ** (dims / (dims - 2))
        return theta ** (-np.arange(0, dims, 2, dtype=np.float64) / dims), 1.0

    def _llama3(self, scaling: Mapping[str, Any], base: F64, context: int) -> tuple[F64, float]:
        """Llama 3.1's: long wavelengths divided by ``factor``, short ones kept, smooth between."""
        factor, low, high = (_number(scaling, f) for f in ("factor", "low_freq_factor", "high_freq_factor"))
        original = _number(scaling, "original_max_position_embeddings")
        wavelength = 2 * math.pi / base
        smooth = np.clip((original / wavelength - low) / (high - low), 0.0, 1.0)
        return (1 - smooth) * base / factor + smooth * base, 1.0

    def _yarn(self, scaling: Mapping[str, Any], base: F64, context: int) -> tuple[F64, float]:
        """YaRN (https://arxiv.org/abs/2309.00071): dimensions that turn often keep their speed, the others slow."""
        factor = _number(scaling, "factor")
        original = _number(scaling, "original_max_position_embeddings", self.longest)

        def dimension(rotations: float) -> float:
            return self.dims * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(self.theta))

        low = dimension(_number(scaling, "beta_fast", 32.0))
        high = dimension(_number(scaling, "beta_slow", 1.0))
        if scaling.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, self.dims - 1)
        ramp = np.clip((np.arange(self.dims // 2) - low) / max(high - low, 0.001), 0.0, 1.0)

        def magnitude(scale: float) -> float:
            return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0

        attention = magnitude(1.0)
        if scaling.get("attention_factor") is not None:
            attention = _number(scaling, "attention_factor")
        elif scaling.get("mscale") and scaling.get("mscale_all_dim"):
            attention = magnitude(_number(scaling, "mscale")) / magnitude(_number(scaling, "mscale_all_dim"))
        return base / factor * ramp + base * (1 - ramp), attention

    def _longrope(self, scaling: Mapping[str, Any], base: F64, context: int) -> tuple[F64, float]:
        """Phi-3's (https://arxiv.org/abs/2402.13753): a factor a dimension, others within the original context."""
        original = self.original or _number(scaling, "original_max_position_embeddings", self.longest)
        key = "long_factor" if context > original else "short_factor"
        factors = scaling.get(key)
        if not isinstance(factors, list) or len(factors) != len(base) or not all(map(is_positive, factors)):
            raise CheckpointError(f"config.json: rope_scaling's {key} needs {len(base)} positive numbers")
        ratio = (
            self.longest / original if self.original else _number(scaling, "factor", self.longest / original)
        )
        attention = math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 else 1.0
        if scaling.get("attention_factor") is not None:
            attention = _number(scaling, "attention_factor")
        return base / np.array(factors, np.float64), attention

    def _proportional(self, scaling: Mapping[str, Any], base: F64, context: int) -> tuple[F64, float]:
        """Gemma 4's: the first pairs of all, a part of them, turn as in a whole head, and the others stand still."""
        turning = int(_number(scaling, "partial_rotary_factor", 1.0) * self.dims // 2)
        return np.where(np.arange(len(base)) < turning, base, 0.0) / _number(scaling, "factor", 1.0), 1.0

    def pair_frequencies(self, context: int) -> tuple[F64, F64]:
        """Radians a position and the factor of cosine and sine, for each of a head's pairs ``[head_dim / 2]``.

        Pair i is dimension i and i + head_dim/2 in the order of ``head_order``; those past ``dims`` stand still.
        """
        frequencies, scale = self.frequencies(context)
        rest = (self.head_dim - self.dims) // 2
        return np.pad(frequencies, (0, rest)), np.pad(
            np.full(len(frequencies), scale), (0, rest), constant_values=1.0
        )

    def head_order(self) -> npt.NDArray[np.int64]:
        """Which of a head's dimensions stands where, ``[head_dim]``.

        Kernels turn dimension i with i + head_dim/2. Where fewer turn, or none, queries and keys are stored in this
        order, in which those that turn come first in each half: scores do not change if both are.
        """
        half, turning = self.head_dim // 2, self.dims // 2
        if self.neighbours:
            return np.concatenate([np.arange(0, self.head_dim, 2), np.arange(1, self.head_dim, 2)])
        rest = np.arange(self.dims, self.head_dim)
        first, second = np.split(rest, 2)
        low = np.concatenate([np.arange(turning), first])
        high = np.concatenate([np.arange(turning, self.dims), second])
        assert len(low) == len(high) == half
        return np.concatenate([low, high])


def _number(scaling: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value: Any = scaling.get(key, default)
    if not is_positive(value):
        raise CheckpointError(f"config.json: rope_scaling needs a positive {key}, not {shown(value)}")
    return float(value)
