"""Reads a profile's JSON, which ``mlcweb bench --profile --format json`` and ``bench/remote.mjs --profile`` write."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcweb.errors import ProfileError

FORMAT, VERSION = "mlcweb-profile", 2


@dataclass(frozen=True)
class Kernel:
    """All of a kernel's launches in an entry; bytes, operations and microseconds are sums over them."""

    name: str
    op: str
    launches: int
    microseconds: float
    weight_bytes: int
    kv_bytes: int
    flops: float
    copy_bytes_per_s: float | None

    @property
    def bytes_read(self) -> int:
        """Bytes of weights and KV cache, each counted once a launch."""
        return self.weight_bytes + self.kv_bytes

    @property
    def bytes_per_s(self) -> float:
        """``bytes_read`` a second."""
        return self.bytes_read / (self.microseconds * 1e-6)

    @property
    def flops_per_s(self) -> float:
        """Floating-point operations a second."""
        return self.flops / (self.microseconds * 1e-6)

    @property
    def of_copy(self) -> float | None:
        """The part of a copy's bandwidth that it reaches; None where nothing was copied to compare with."""
        return self.bytes_per_s / self.copy_bytes_per_s if self.copy_bytes_per_s else None


@dataclass(frozen=True)
class Bar:
    """A launch, in the order of its entry; ``op`` is the model's operation."""

    kernel: str
    op: str
    microseconds: float


@dataclass(frozen=True)
class Entry:
    """One decode step with its sampling, or one prefill chunk; ``source`` says how the bars were timed."""

    tokens: int
    position: int
    dispatches: int
    microseconds: float
    encode_microseconds: float
    kernels: tuple[Kernel, ...]
    source: str
    bars: tuple[Bar, ...]

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / (self.microseconds * 1e-6)


@dataclass(frozen=True)
class Profile:
    """What was measured, and where; ``document`` is all of it as it was written."""

    name: str
    tier: str
    activations: str
    machine: str
    browser: str
    timing: str
    rounded_timestamps: bool
    decode: Entry
    prefill: Entry
    copy_bytes_per_s: float | None
    f32_flops_per_s: float
    f16_flops_per_s: float | None
    document: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What ran: the bundle, its tier, and how it prefills where that is not with plain floats."""
        prefill = {"int8": ", prefill with int8 activations", "matrix": ", prefill on subgroup matrices"}
        return f"{self.name}, tier {self.tier}{prefill.get(self.activations, '')}"

    @property
    def entries(self) -> tuple[tuple[str, Entry], tuple[str, Entry]]:
        return ("decode", self.decode), ("prefill", self.prefill)

    @classmethod
    def from_json(cls, document: Any, said: str = "the profile") -> Profile:
        """Raises ProfileError, which names ``said``, for anything that no profiler of this version writes."""
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ProfileError(
                f"{said} is not a profile", hint="make one with `mlcweb bench BUNDLE --profile --format json`"
            )
        if document.get("version") != VERSION:
            raise ProfileError(
                f"{said} is a profile of version {document.get('version')!r}; this mlcweb reads {VERSION}",
                hint="measure again",
            )
        try:
            device = document["device"]
            speeds = [_number(pair["bytes_per_s"]) for pair in device["copy"]]
            return cls(
                name=str(document["name"]),
                tier=str(document["tier"]),
                activations=str(document["activations"]),
                machine=str(document.get("machine") or document["adapter"]),
                browser=str(document["browser"]),
                timing=str(document["timing"]),
                rounded_timestamps=bool(document["rounded_timestamps"]),
                decode=_entry(document["decode"]),
                prefill=_entry(document["prefill"]),
                copy_bytes_per_s=max(speeds, default=None),
                f32_flops_per_s=_number(device["f32_flops_per_s"]),
                f16_flops_per_s=_optional(device["f16_flops_per_s"]),
                document=document,
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ProfileError(
                f"{said} is damaged: {type(error).__name__}: {error}", hint="measure again"
            ) from error


def read_profile(path: Path) -> Profile:
    """Raises ProfileError where the file holds no profile, OSError where it cannot be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ProfileError(f"{path} is not JSON: {error}", hint="measure again") from error
    return Profile.from_json(document, str(path))


def _entry(document: Any) -> Entry:
    kernels = tuple(
        Kernel(
            name=str(k["name"]),
            op=str(k["op"]),
            launches=int(_number(k["launches"])),
            microseconds=_number(k["microseconds"]),
            weight_bytes=int(_number(k["weight_bytes"], zero=True)),
            kv_bytes=int(_number(k["kv_bytes"], zero=True)),
            flops=_number(k["flops"], zero=True),
            copy_bytes_per_s=_optional(k["copy_bytes_per_s"]),
        )
        for k in document["kernels"]
    )
    bars = tuple(
        Bar(str(b["kernel"]), str(b["op"]), _number(b["microseconds"], zero=True))
        for b in document["timeline"]["launches"]
    )
    if not bars or {bar.kernel for bar in bars} != {kernel.name for kernel in kernels}:
        raise ValueError("its timeline names other kernels than its table")
    return Entry(
        tokens=int(_number(document["tokens"])),
        position=int(_number(document["position"], zero=True)),
        dispatches=int(_number(document["dispatches"])),
        microseconds=_number(document["microseconds"]),
        encode_microseconds=_number(document["encode_microseconds"], zero=True),
        kernels=kernels,
        source=str(document["timeline"]["source"]),
        bars=bars,
    )


def _number(value: Any, *, zero: bool = False) -> float:
    number = float(value)
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise ValueError(f"{value!r} cannot have been measured")
    return number


def _optional(value: Any) -> float | None:
    return None if value is None else _number(value)
