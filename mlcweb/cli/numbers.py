"""Numbers as people read them."""

from __future__ import annotations

UNITS = ((10**3, "kB"), (10**6, "MB"), (10**9, "GB"), (10**12, "TB"))


def size(count: int) -> str:
    """``98.0 MB``: powers of 1000, as file managers and networks count."""
    if count < 1000:
        return f"{count} B"
    power, unit = next((p, u) for p, u in UNITS if count < 999.95 * p or u == "TB")
    return f"{count / power:.1f} {unit}"


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
