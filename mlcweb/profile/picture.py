"""Draws a profile: each launch of a decode step and of a prefill chunk is a bar, in order.

Static SVG: no scripts, no fonts of its own, and colours that follow the viewer's light or dark scheme.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import ceil, floor, log10
from xml.sax.saxutils import escape

from mlcweb.numbers import microseconds, per_second, rate
from mlcweb.profile.report import Entry, Kernel, Profile
from mlcweb.profile.table import timed_by

WIDTH, MARGIN = 1160, 30
BAR, AXIS, GAP = 30, 20, 10  # heights: a row of bars, its axis, what is between rows
LINE = 21  # of the legend
LAUNCHES_A_ROW, ROWS = 60, 6
FLOPS_A_BYTE = 16  # above it arithmetic binds a kernel, and below it bandwidth, on most GPUs
# Told apart on white and on black, and by people who see no red; the order is that of first appearance.
PALETTE = (
    "#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#e15759", "#76b7b2", "#c9a227",
    "#9c755f", "#d37295", "#7f7f7f", "#5fa2ce", "#8cd17d", "#a0629a", "#e08a6d",
)  # fmt: skip
STYLE = """
svg { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
.paper { fill: #ffffff; } .bar { stroke: #ffffff; stroke-width: .6; } text { fill: #1f2328; }
.title { font-size: 17px; font-weight: 600; } .heading { font-size: 15px; font-weight: 600; }
.quiet, .tick { fill: #59636e; } .tick { font-size: 11px; } .rule { stroke: #59636e; stroke-width: .7; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #0d1117; } .bar { stroke: #0d1117; } text { fill: #e6edf3; }
  .quiet, .tick { fill: #9198a1; } .rule { stroke: #9198a1; }
}
"""


@dataclass
class Canvas:
    """SVG elements, and how far down the page they reach."""

    y: float = MARGIN
    elements: tuple[str, ...] = ()

    def add(self, *elements: str) -> None:
        self.elements += elements

    def text(self, x: float, said: str, kind: str = "", anchor: str = "", dy: float = 0) -> None:
        """A line whose baseline is ``dy`` below where the page has reached."""
        attributes = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
        self.add(f'<text x="{x:.1f}" y="{self.y + dy:.1f}"{attributes}>{escape(said)}</text>')


def draw(profile: Profile) -> str:
    """The SVG's text. Equal profiles give equal pictures."""
    canvas = Canvas()
    canvas.y += 8
    canvas.text(MARGIN, profile.title, "title")
    canvas.text(WIDTH - MARGIN, f"{profile.machine}, {profile.browser}", "quiet", "end")
    operations = dict.fromkeys(bar.op for _, entry in profile.entries for bar in entry.bars)
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(operations)}
    for name, entry in profile.entries:
        canvas.y += 40
        _heading(canvas, name, entry)
        _bars(canvas, entry, colours)
        _legend(canvas, profile, entry, colours)
    canvas.y += 14
    for note in notes(profile):
        canvas.y += 17
        canvas.text(MARGIN, note, "quiet")
    height = ceil(canvas.y + MARGIN - 8)
    said = f"Timeline of a decode step and a prefill chunk of {profile.name}"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{escape(said)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
            *canvas.elements,
            "</svg>\n",
        )
    )


def notes(profile: Profile) -> list[str]:
    """What was done, and what it does to the numbers."""
    totals = [(name, sum(bar.microseconds for bar in entry.bars), entry) for name, entry in profile.entries]
    sums = "; ".join(
        f"{name} {microseconds(total)} here, {microseconds(entry.microseconds)} as replayed"
        for name, total, entry in totals
    )
    order = {
        "stamps": "Bars: each launch in order, in one compute pass with a timestamp after each; medians. A bar begins "
        "where the launch before it ended.",
        "passes": "Bars: each launch in order, in a compute pass of its own with a timestamp at either end; medians. "
        "What lies between the passes is left out.",
    }
    first = order.get(
        profile.decode.source,
        f"Bars: each launch has its kernel's time in a chain of that kernel's launches ({timed_by(profile)}); "
        "the order is that of the entry.",
    )
    second = f"The engine replays an entry in one pass, with the next ones in flight: {sums}."
    copy = per_second(profile.copy_bytes_per_s, "B") if profile.copy_bytes_per_s else "not measured"
    third = (
        "Rates are those of chains of a kernel's launches over all layers: bytes of weights and KV cache next to a "
        f"copy of that size (up to {copy}),"
    )
    fourth = (
        "operations of matrix products and attention next to a kernel that only multiplies and adds "
        f"({per_second(profile.f32_flops_per_s, 'FLOP')} in f32"
        + (f", {per_second(profile.f16_flops_per_s, 'FLOP')} in f16" if profile.f16_flops_per_s else "")
        + ")."
    )
    return [first, second, third, fourth]


def _heading(canvas: Canvas, name: str, entry: Entry) -> None:
    what = "one token" if entry.tokens == 1 else f"a chunk of {entry.tokens} tokens"
    where = f"at context {entry.position}" if entry.position else "at the beginning of a context"
    canvas.text(MARGIN, f"{name.capitalize()}: {what} {where}", "heading")
    said = (
        f"{entry.dispatches} launches, {microseconds(entry.microseconds)} as replayed "
        f"({rate(entry.tokens_per_second)}), {microseconds(entry.encode_microseconds)} of CPU to submit"
    )
    canvas.text(WIDTH - MARGIN, said, "quiet", "end")
    canvas.y += 12


def _bars(canvas: Canvas, entry: Entry, colours: dict[str, str]) -> None:
    total = sum(bar.microseconds for bar in entry.bars) or 1.0
    rows = min(ROWS, ceil(len(entry.bars) / LAUNCHES_A_ROW))
    span, width = total / rows, WIDTH - 2 * MARGIN
    start = 0.0
    for bar in entry.bars:
        end = start + bar.microseconds
        said = f"{bar.kernel}: {microseconds(bar.microseconds)}"
        left = start
        while left < end:  # a bar that does not fit its row goes on in the next
            row = min(rows - 1, int(left / span * (1 + 1e-12)))
            right = end if row == rows - 1 else min(end, (row + 1) * span)
            x, y = MARGIN + (left - row * span) / span * width, canvas.y + row * (BAR + AXIS + GAP)
            canvas.add(
                f'<rect class="bar" x="{x:.2f}" y="{y:.1f}" width="{(right - left) / span * width:.2f}" '
                f'height="{BAR}" fill="{colours[bar.op]}"><title>{escape(said)}</title></rect>'
            )
            left = right
        start = end
    for row in range(rows):
        _axis(canvas, canvas.y + row * (BAR + AXIS + GAP) + BAR, row * span, span)
    canvas.y += rows * (BAR + AXIS + GAP)


def _axis(canvas: Canvas, y: float, start: float, span: float) -> None:
    """Ticks at round times, from 8 to 20 a row."""
    rough = span / 10
    power = 10 ** floor(log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)
    width = WIDTH - 2 * MARGIN
    for i in range(ceil(start / step - 1e-9), floor((start + span) / step + 1e-9) + 1):
        x = MARGIN + (i * step - start) / span * width
        canvas.add(
            f'<line class="rule" x1="{x:.1f}" y1="{y + 1:.1f}" x2="{x:.1f}" y2="{y + 5:.1f}"/>',
            f'<text class="tick" x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{_tick(i * step)}</text>',
        )


def _tick(time: float) -> str:
    power, unit = next(
        (p, u) for p, u in ((1, "us"), (10**3, "ms"), (10**6, "s")) if time < 1000 * p or u == "s"
    )
    return f"{time / power:.4g} {unit}" if time else "0"


def _legend(canvas: Canvas, profile: Profile, entry: Entry, colours: dict[str, str]) -> None:
    """Two columns: a kernel's colour, name, launches, time, share of the bars, and the rate it reaches."""
    times: defaultdict[str, float] = defaultdict(float)
    for bar in entry.bars:
        times[bar.kernel] += bar.microseconds
    total = sum(times.values()) or 1
    kernels = sorted(entry.kernels, key=lambda kernel: -times[kernel.name])
    half = ceil(len(kernels) / 2)
    column = (WIDTH - 2 * MARGIN) / 2
    top = canvas.y + 6
    for i, kernel in enumerate(kernels):
        x, canvas.y = MARGIN + (i // half) * column, top + (i % half) * LINE
        canvas.add(
            f'<rect x="{x:.1f}" y="{canvas.y:.1f}" width="12" height="12" rx="2" fill="{colours[kernel.op]}"/>'
        )
        canvas.text(x + 20, kernel.op, dy=11)
        canvas.text(x + 185, f"{kernel.launches} x", "quiet", "end", dy=11)
        canvas.text(x + 265, microseconds(times[kernel.name]), anchor="end", dy=11)
        canvas.text(x + 320, f"{times[kernel.name] / total:.1%}", anchor="end", dy=11)
        canvas.text(x + 335, _reaches(profile, kernel), "quiet", dy=11)
    canvas.y = top + half * LINE


def _reaches(profile: Profile, kernel: Kernel) -> str:
    """Its rate of what binds it: bytes, unless it computes much with each."""
    if kernel.flops > FLOPS_A_BYTE * kernel.bytes_read:
        fraction = kernel.flops_per_s / profile.f32_flops_per_s
        return f"{per_second(kernel.flops_per_s, 'FLOP')}, {fraction:.0%} of f32"
    return f"{per_second(kernel.bytes_per_s, 'B')}, {kernel.of_copy:.0%} of a copy" if kernel.of_copy else ""
