"""A bundle's speed in the browser."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlcweb.browser.session import open_session
from mlcweb.progress import Progress


@dataclass(frozen=True)
class Measured:
    """Medians, and what they were measured with."""

    bundle: str
    browser: str
    adapter: str
    software: bool
    tier: str
    prefill_tokens: int
    decode_tokens: int
    repeats: int
    load_seconds: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure(
    bundle: Path,
    prefill: int,
    decode: int,
    repeats: int,
    tier: str | None,
    chromium: Path | None,
    progress: Progress,
) -> Measured:
    """Load, then time ``repeats`` runs of ``prefill`` tokens and ``decode`` tokens after them."""
    with open_session(bundle, chromium, progress) as session:
        adapter = session.adapter()
        loaded = session.load(tier, progress)
        progress.start(f"{repeats} runs of {prefill} + {decode} tokens")
        found = session.bench({"prefill": prefill, "decode": decode, "context": prefill, "repeats": repeats})[
            "median"
        ]
    return Measured(
        bundle=bundle.name,
        browser=adapter.browser,
        adapter=adapter.name,
        software=adapter.software,
        tier=str(loaded["tier"]),
        prefill_tokens=prefill,
        decode_tokens=decode,
        repeats=repeats,
        load_seconds=float(loaded["timings"]["total_s"]),
        prefill_tokens_per_second=float(found["prefill_tokens_per_s"]),
        decode_tokens_per_second=float(found["decode_tokens_per_s"]),
    )
