"""The documentation's pages, and the code blocks in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class CodeBlock:
    """A fenced code block; ``line`` is its first line in the page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[CodeBlock]:
    blocks: list[CodeBlock] = []
    opened: tuple[int, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
        elif opened is None:
            opened, lines = (number + 1, line[3:].strip()), []
        else:
            blocks.append(CodeBlock(page, *opened, "\n".join(lines)))
            opened = None
    assert opened is None, f"{page} has an open code block"
    return blocks
