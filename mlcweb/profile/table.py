"""Writes a profile as text: facts, a headline for each entry, and a row for each kernel."""

from __future__ import annotations

from mlcweb.numbers import microseconds, per_second, rate, size
from mlcweb.profile.report import Entry, Kernel, Profile

COLUMNS = ("KERNEL", "LAUNCHES", "EACH", "SHARE", "READS", "REACHES", "OF COPY", "COMPUTES", "OF FMA")


def facts(profile: Profile) -> dict[str, str]:
    """What was measured, where and how, and what the device reaches."""
    arithmetic = f"{per_second(profile.f32_flops_per_s, 'FLOP')} in f32"
    if profile.f16_flops_per_s:
        arithmetic += f", {per_second(profile.f16_flops_per_s, 'FLOP')} in f16"
    copy = profile.copy_bytes_per_s
    return {
        "bundle": profile.title,
        "machine": profile.machine,
        "browser": profile.browser,
        "timed by": timed_by(profile),
        "copies": f"up to {per_second(copy, 'B')}, read and written" if copy else "nothing large enough",
        "multiplies and adds": arithmetic,
    }


def timed_by(profile: Profile) -> str:
    """The clock, in words."""
    if profile.timing == "wall":
        return "wall time of chains of launches: the device has no timestamps"
    if profile.rounded_timestamps:
        return "rounded GPU timestamps, over long chains of launches"
    return "GPU timestamps"


def headline(name: str, entry: Entry) -> str:
    """An entry in a line."""
    what = f"{entry.tokens} token{'s' if entry.tokens > 1 else ''} at position {entry.position}"
    return (
        f"{name}: {what}; {entry.dispatches} dispatches in {microseconds(entry.microseconds)} "
        f"({rate(entry.tokens_per_second)}), {microseconds(entry.encode_microseconds)} of CPU to encode and submit"
    )


def kernel_rows(profile: Profile, entry: Entry) -> list[tuple[str, ...]]:
    """A row a kernel, the longest first, in the order of ``COLUMNS``."""
    total = sum(kernel.microseconds for kernel in entry.kernels)
    return [
        (
            kernel.name,
            str(kernel.launches),
            microseconds(kernel.microseconds / kernel.launches),
            f"{kernel.microseconds / total:.1%}",
            size(round(kernel.bytes_read / kernel.launches)) if kernel.bytes_read else "-",
            per_second(kernel.bytes_per_s, "B") if kernel.bytes_read else "-",
            f"{kernel.of_copy:.0%}" if kernel.of_copy else "-",
            per_second(kernel.flops_per_s, "FLOP") if kernel.flops else "-",
            f"{kernel.flops_per_s / profile.f32_flops_per_s:.1%}" if kernel.flops else "-",
        )
        for kernel in longest_first(entry)
    ]


def longest_first(entry: Entry) -> list[Kernel]:
    """The kernels by their part of the entry's time."""
    return sorted(entry.kernels, key=lambda kernel: -kernel.microseconds)
