"""Draws the way from a checkpoint to a token, light and dark, for the README and docs/architecture.md.

.venv/bin/python docs/images/pipeline.py    # writes pipeline.svg and pipeline-dark.svg beside this file
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT = 800, 452


@dataclass(frozen=True)
class Palette:
    """Colours; the page's own background shows around the picture."""

    lane: str
    box: str
    line: str
    text: str
    muted: str
    accent: str
    accent_box: str


LIGHT = Palette("#f3f5f8", "#ffffff", "#b9c2cf", "#1b2330", "#566274", "#0b62d6", "#e7f0fe")
DARK = Palette("#161b22", "#21262d", "#525c69", "#e9eef5", "#a3aebb", "#6cb0ff", "#14283f")


@dataclass(frozen=True)
class Box:
    """A step: a title and lines under it."""

    x: int
    y: int
    width: int
    height: int
    title: str
    lines: tuple[str, ...]
    accent: bool = False

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    @property
    def middle(self) -> int:
        return self.y + self.height // 2


CHECKPOINT = Box(28, 108, 132, 76, "Checkpoint", ("Hugging Face or", "GGUF, with LoRA"))
MODEL = Box(188, 108, 132, 76, "Model", ("one forward for", "prefill and decode"))
QUANTIZE = Box(348, 46, 256, 56, "Quantize", ("3 to 8 bits, or the GGUF's own types",))
LOWER = Box(348, 118, 116, 56, "Lower", ("TIR to WGSL",))
PLAN = Box(488, 118, 116, 56, "Plan", ("a list of launches",))
REFERENCE = Box(348, 190, 256, 56, "Reference", ("numpy answers, to compare with",))
BUNDLE = Box(
    640, 46, 132, 200, "Bundle",
    ("static files:", "chunks of weights", "WGSL by tier", "plan as JSON", "launch tables",
     "in model.wasm", "expected answer"),
    True,
)  # fmt: skip
LOAD = Box(28, 340, 132, 76, "Load", ("check each hash,", "copy to the GPU"))
PREPARE = Box(181, 340, 132, 76, "Prepare", ("pipelines and", "bind groups, once"))
REPLAY = Box(334, 340, 132, 76, "Replay", ("every launch of", "a step in one pass"), True)
SAMPLE = Box(487, 340, 132, 76, "Sample", ("on the GPU, where", "the next one reads"))
TEXT = Box(640, 340, 132, 76, "Text", ("read back while", "later steps run"))
BOXES = (CHECKPOINT, MODEL, QUANTIZE, LOWER, PLAN, REFERENCE, BUNDLE, LOAD, PREPARE, REPLAY, SAMPLE, TEXT)


def draw(palette: Palette) -> str:
    """The picture as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" aria-labelledby="title" '
        'font-family="system-ui, -apple-system, Segoe UI, Inter, Helvetica, Arial, sans-serif">',
        '<title id="title">mlcweb compiles a checkpoint into a bundle of static files; '
        "the browser loads it and replays its list of launches for each token</title>",
        f'<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{palette.muted}"/></marker>',
        _lane(10, 28, 250, "COMPILE", "once, on your machine: Python and TVM", palette),
        _lane(304, 181, 138, "RUN", "in the browser: TypeScript and WebGPU", palette),
        _arrow(f"M{CHECKPOINT.right} {CHECKPOINT.middle}H{MODEL.x}", palette),
        *(_fork(MODEL, box, palette) for box in (QUANTIZE, LOWER, REFERENCE)),
        _arrow(f"M{LOWER.right} {LOWER.middle}H{PLAN.x}", palette),
        *(_arrow(f"M{box.right} {box.middle}H{BUNDLE.x}", palette) for box in (QUANTIZE, PLAN, REFERENCE)),
        _arrow(f"M{BUNDLE.x + 66} {BUNDLE.bottom}V282H{LOAD.x + 66}V{LOAD.y}", palette),
        _label(400, 277, "any static host, no server", palette),
        *(
            _arrow(f"M{a.right} {a.middle}H{b.x}", palette)
            for a, b in ((LOAD, PREPARE), (PREPARE, REPLAY), (REPLAY, SAMPLE), (SAMPLE, TEXT))
        ),
        _arrow(f"M{SAMPLE.x + 66} {SAMPLE.bottom}V431H{REPLAY.x + 66}V{REPLAY.bottom}", palette),
        *(_box(box, palette) for box in BOXES),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _lane(y: int, label: int, height: int, name: str, rest: str, palette: Palette) -> str:
    return (
        f'<rect x="10" y="{y}" width="{WIDTH - 20}" height="{height}" rx="12" fill="{palette.lane}"/>'
        f'<text x="{label}" y="{y + 24}" font-size="13" fill="{palette.muted}">'
        f'<tspan font-weight="700" letter-spacing="1">{name}</tspan>&#160; {escape(rest)}</text>'
    )


def _box(box: Box, palette: Palette) -> str:
    fill, line = (palette.accent_box, palette.accent) if box.accent else (palette.box, palette.line)
    centre = box.x + box.width // 2
    top = box.middle - 8 * len(box.lines) + 3
    text = "".join(
        f'<text x="{centre}" y="{top + 18 + 17 * i}" font-size="13" fill="{palette.muted}">{escape(part)}</text>'
        for i, part in enumerate(box.lines)
    )
    return (
        f'<g text-anchor="middle"><rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="8" '
        f'fill="{fill}" stroke="{line}"/><text x="{centre}" y="{top}" font-size="15" font-weight="600" '
        f'fill="{palette.text}">{box.title}</text>{text}</g>'
    )


def _fork(start: Box, end: Box, palette: Palette) -> str:
    between = (start.right + end.x) // 2
    return _arrow(f"M{start.right} {start.middle}H{between}V{end.middle}H{end.x}", palette)


def _arrow(path: str, palette: Palette) -> str:
    return (
        f'<path d="{path}" fill="none" stroke="{palette.muted}" stroke-width="1.5" marker-end="url(#tip)"/>'
    )


def _label(x: int, y: int, text: str, palette: Palette) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle" font-size="13" fill="{palette.muted}">{text}</text>'


PICTURES = {"pipeline.svg": LIGHT, "pipeline-dark.svg": DARK}

if __name__ == "__main__":
    for name, palette in PICTURES.items():
        (HERE / name).write_text(draw(palette))
