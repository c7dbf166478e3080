"""Formats numbers for people."""

from __future__ import annotations

UNITS = ((10**3, "kB"), (10**6, "MB"), (10**9, "GB"), (10**12, "TB"))


def size(count: int) -> str:
    """``98.0 MB``: powers of 1000, as file managers and networks count."""
    if count < 1000:
        return f"{count} B"
    power, unit = next((p, u) for p, u in UNITS if count < 999.95 * p or u == "TB")
    return f"{count / power:.1f} {unit}"


def count(number: int) -> str:
    """``1.24 B`` or ``135 M``, as models' parameters are told."""
    unit, power = ("B", 10**9) if number >= 999_500_000 else ("M", 10**6)
    return f"{_three_digits(number / power)} {unit}"


def seconds(duration: float) -> str:
    """``0.42 s``, ``12.3 s`` or ``2 min 05 s``."""
    if duration < 9.95:
        return f"{duration:.2f} s"
    if duration < 119.5:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest:02d} s"


def rate(per_second: float | None) -> str:
    """``412 tok/s``, with a decimal where it tells something; ``-`` when nothing was measured."""
    if not per_second:
        return "-"
    return f"{per_second:,.0f} tok/s" if per_second >= 100 else f"{per_second:.1f} tok/s"


def microseconds(duration: float) -> str:
    """``4.21 us``, ``312 us``, ``1.08 ms`` or ``2.05 s``, from microseconds."""
    power, unit = next(
        (p, u) for p, u in ((1, "us"), (10**3, "ms"), (10**6, "s")) if duration < 999.5 * p or u == "s"
    )
    return f"{_three_digits(duration / power)} {unit}"


def per_second(count: float, unit: str) -> str:
    """``1.93 TB/s`` or ``28.5 TFLOP/s``: three digits and a power of 1000."""
    powers = ((1, ""), (10**3, "k"), (10**6, "M"), (10**9, "G"), (10**12, "T"))
    power, prefix = next((p, u) for p, u in powers if count < 999.5 * p or u == "T")
    return f"{_three_digits(count / power)} {prefix}{unit}/s"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{decimals}f}"
