"""Draws divergence over bits a weight: a point for each bundle, a colour for each model.

Static SVG: no scripts, no fonts of its own, and colours that follow the viewer's light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log2, log10
from pathlib import Path
from xml.sax.saxutils import escape

from mlcweb.errors import SourceError
from mlcweb.evaluate.compare import Comparison
from mlcweb.evaluate.lines import nats

WIDTH, HEIGHT = 860, 500
LEFT, RIGHT, TOP, BOTTOM = 84, 36, 76, 62
LINE = 16  # of a label
FLOOR = 1e-6  # what is below it is drawn there: arithmetic alone differs by as much
TICKS = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # bits a weight
SHAPES = ("circle", "square", "triangle", "diamond")
STYLE = """
svg { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
.paper { fill: #ffffff; } text { fill: #1f2328; } .halo { stroke: #ffffff; stroke-width: 4; paint-order: stroke; }
.title { font-size: 17px; font-weight: 600; } .quiet, .tick { fill: #59636e; } .tick { font-size: 12px; }
.grid { stroke: #d1d9e0; stroke-width: .8; } .rule { stroke: #59636e; stroke-width: 1; }
.s0 { fill: #3566a8; } .s1 { fill: #c4641a; } .s2 { fill: #38803f; } .s3 { fill: #8a4f9e; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #0d1117; } text { fill: #e6edf3; } .halo { stroke: #0d1117; }
  .quiet, .tick { fill: #9198a1; } .grid { stroke: #2a313a; } .rule { stroke: #9198a1; }
  .s0 { fill: #79a8e6; } .s1 { fill: #f0a35e; } .s2 { fill: #7fc586; } .s3 { fill: #c79ad8; }
}
"""


@dataclass(frozen=True)
class Point:
    """A bundle: ``bits`` a weight, and the mean of KL(source || bundle) in nats a token."""

    label: str
    bits: float
    kl: float


@dataclass(frozen=True)
class Series:
    """The bundles of a model."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Scale:
    """Values to places on the page; both axes are logarithmic."""

    lowest_bits: float
    highest_bits: float
    low: int
    high: int

    def x(self, bits: float) -> float:
        fraction = log2(bits / self.lowest_bits) / log2(self.highest_bits / self.lowest_bits)
        return LEFT + fraction * (WIDTH - LEFT - RIGHT)

    def y(self, kl: float) -> float:
        fraction = (log10(max(kl, 10.0**self.low)) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - fraction * (HEIGHT - TOP - BOTTOM)


def write_plot(comparison: Comparison, path: Path) -> None:
    """The plot of an evaluation. Raises SourceError when the file cannot be written."""
    points = tuple(
        Point(row.scheme, row.bits, row.scores.kl_mean)
        for row in comparison.rows
        if row.bits is not None and row.scores.kl_mean is not None
    )
    name = comparison.against.name if comparison.against else ""
    try:
        path.write_text(draw([Series(name, points)]), encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{path}: cannot be written: {error.strerror or error}") from error


def draw(series: Sequence[Series]) -> str:
    """The SVG's text. Equal series give equal pictures. Raises ValueError where there is no point."""
    points = [point for one in series for point in one.points]
    if not points:
        raise ValueError("no bundle to plot")
    lowest = max(FLOOR, min(point.kl for point in points))
    highest = max(FLOOR * 10, *(point.kl for point in points))
    low = floor(log10(lowest))
    bits = [point.bits for point in points]
    lowest_bits = max((tick for tick in TICKS if tick < 0.95 * min(bits)), default=TICKS[0])
    highest_bits = min((tick for tick in TICKS if tick > 1.05 * max(bits)), default=TICKS[-1])
    scale = Scale(lowest_bits, highest_bits, low, max(low + 1, ceil(log10(highest))))
    said = "How far bundles are from their source, by the bits they take"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            f"<title>{escape(said)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
            _text(LEFT, 30, said, "title"),
            *_legend(series),
            *_axes(scale),
            *_labels(series, scale),
            *(
                _mark(i, scale.x(p.bits), scale.y(p.kl), p)
                for i, one in enumerate(series)
                for p in one.points
            ),
            "</svg>\n",
        )
    )


def _legend(series: Sequence[Series]) -> list[str]:
    elements, x = list[str](), float(LEFT + 6)
    for i, one in enumerate(series):
        elements += [_mark(i, x, 51), _text(x + 12, 55, one.name, "quiet")]
        x += 40 + 7.2 * len(one.name)
    return elements


def _axes(scale: Scale) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    elements = []
    for power in range(scale.low, scale.high + 1):
        y = scale.y(10.0**power)
        elements.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        said = f"{10.0**power:g}" if power >= -4 else f"1e{power}"
        elements.append(_text(LEFT - 10, y + 4, said, "tick", "end"))
    for bits in TICKS:
        if not scale.lowest_bits <= bits <= scale.highest_bits:
            continue
        x = scale.x(bits)
        elements.append(f'<path class="rule" d="M{x:.1f} {bottom}v5"/>')
        elements.append(_text(x, bottom + 20, f"{bits:g}", "tick", "middle"))
    elements.append(f'<path class="rule" d="M{LEFT} {bottom}H{right}"/>')
    elements.append(_text((LEFT + right) / 2, HEIGHT - 18, "stored bits a weight", "quiet", "middle"))
    middle = (TOP + bottom) / 2
    turned = f'transform="rotate(-90 22 {middle:.1f})"'
    elements.append(_text(22, middle, "mean KL(source || bundle), nats a token", "quiet", "middle", turned))
    return elements


def _labels(series: Sequence[Series], scale: Scale) -> list[str]:
    """Names beside their marks; those that would overlap another, or a mark, go to the left, up or down."""
    # a mark takes room as a label does
    taken = [(scale.x(p.bits) - 7, scale.y(p.kl) + 4, 14.0) for one in series for p in one.points]
    elements = list[str]()
    for i, one in enumerate(series):
        for point in sorted(one.points, key=lambda p: (p.bits, -p.kl)):
            x, y, width = scale.x(point.bits), scale.y(point.kl) + 4, 7.2 * len(point.label)
            place = next(
                (place for place in _places(x, y, width) if not any(_touch(*place, width, t) for t in taken)),
                (x + 10, y),
            )
            taken.append((*place, width))
            elements.append(_text(*place, point.label, f"halo s{i % 4}"))
    return elements


def _places(x: float, y: float, width: float) -> Iterator[tuple[float, float]]:
    """Where a mark's label may begin, the nearest first."""
    for line in range(12):
        for side in (-1, 1) if line else (1,):
            for left in (x + 10, x - 10 - width, *((x - width / 2,) if line else ())):
                down = y + side * line * LINE
                inside = TOP - 8 <= down <= HEIGHT - BOTTOM - 4
                if inside and left > LEFT and left + width < WIDTH - 8:
                    yield left, down


def _touch(left: float, y: float, width: float, taken: tuple[float, float, float]) -> bool:
    start, line, extent = taken
    return abs(y - line) < LINE and left < start + extent and start < left + width


def _mark(index: int, x: float, y: float, point: Point | None = None) -> str:
    said = f"{point.label}: {point.bits:.2f} bits, KL {nats(point.kl)}" if point else ""
    title = f"<title>{escape(said)}</title>" if said else ""
    style = f'class="s{index % 4}"'
    shape = SHAPES[index % 4]
    if shape == "circle":
        return f'<circle {style} cx="{x:.1f}" cy="{y:.1f}" r="5">{title}</circle>'
    paths = {
        "square": f"M{x - 4.5:.1f} {y - 4.5:.1f}h9v9h-9z",
        "triangle": f"M{x:.1f} {y - 5.5:.1f}l5.5 10h-11z",
        "diamond": f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z",
    }
    return f'<path {style} d="{paths[shape]}">{title}</path>'


def _text(x: float, y: float, said: str, kind: str, anchor: str = "", more: str = "") -> str:
    attributes = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{attributes} {more}>{escape(said)}</text>'.replace(
        " >", ">"
    )
