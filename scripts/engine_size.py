"""Writes the engine's size, as it was built, into the pages that name it.

python scripts/engine_size.py            # after `make engine`; `make docs` runs it
python scripts/engine_size.py --check    # writes nothing; status 1 where a page is not current

A page has ``<!--size:core-->27 KiB<!---->``: ``all`` is mlcweb.js, which a page imports, ``core`` core.js, the same
without tokenizer and chat templates, ``webllm`` WebLLM's names, ``embed`` what reads whole texts, ``images``
what reads pictures, ``cpu`` what runs the tier wasm. Sizes are of gzip, in whole KiB.
"""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / "runtime-js" / "dist"
SCRIPTS = {
    "all": ("mlcweb.js",),
    "core": ("core.js",),
    "webllm": ("web-llm.js",),
    "embed": ("embed.js",),
    "images": ("images.js",),
    "cpu": ("cpu.js", "cpu-worker.js"),
}
PAGES = (
    "README.md",
    "docs/embeddings.md",
    "docs/engine.md",
    "docs/performance.md",
    "docs/webllm.md",
    "runtime-js/README.md",
)
MARK = re.compile(r"<!--size:(\w+)-->[^<]*<!---->")


def size(scripts: tuple[str, ...]) -> str:
    """Of built scripts together, as pages say it. Raises FileNotFoundError where the engine is not built."""
    gzipped = sum(len(gzip.compress((BUILT / script).read_bytes(), 9, mtime=0)) for script in scripts)
    return f"{gzipped / 1024:.0f} KiB"


def filled(text: str) -> str:
    """The page with today's sizes."""
    return MARK.sub(lambda mark: f"<!--size:{mark[1]}-->{size(SCRIPTS[mark[1]])}<!---->", text)


def main() -> int:
    check, stale = "--check" in sys.argv[1:], []
    for name in PAGES:
        page = ROOT / name
        text = page.read_text()
        if filled(text) != text:
            stale.append(name)
            if not check:
                page.write_text(filled(text))
    if check and stale:
        print(f"the engine's size is not current in {', '.join(stale)}: run `make docs`", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
