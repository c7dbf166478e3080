"""Measures a bundle's speed in the browser, and profiles its kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlcweb.browser.session import LoadOptions, open_session
from mlcweb.profile.report import FORMAT, VERSION, Profile
from mlcweb.progress import Progress

# Without it Chromium may round timestamps to 100 us.
EXACT_TIMESTAMPS = "--enable-webgpu-developer-features"


@dataclass(frozen=True)
class BenchRun:
    """Tokens of a run: ``prefill`` to the first token; ``decode`` more after ``context`` others."""

    prefill: int
    decode: int
    context: int
    repeats: int


@dataclass(frozen=True)
class Load:
    """A load in seconds: of all, of the weights, and from its beginning to the first token of a short prompt."""

    seconds: float
    weights_seconds: float
    first_token_seconds: float


@dataclass(frozen=True)
class Measured:
    """Medians, and what they were measured with.

    ``fetch_seconds`` is what fetching the weights takes when nothing is done with them; ``load`` is from the server
    into the browser's cache, ``load_again`` from that cache.
    """

    bundle: str
    browser: str
    adapter: str
    software: bool
    tier: str
    activations: str
    prefill_tokens: int
    decode_tokens: int
    context: int
    repeats: int
    weights_bytes: int
    fetch_seconds: float
    load: Load
    load_again: Load
    prefill_tokens_per_second: float
    time_to_first_token_seconds: float
    decode_tokens_per_second: float

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure(
    bundle: Path,
    runs: Sequence[BenchRun],
    load_options: LoadOptions,
    chromium: Path | None,
    progress: Progress,
) -> list[Measured]:
    """Load from the server and from the browser's cache, then time each of ``runs`` as often as it says."""
    with open_session(bundle, chromium, progress) as session:
        adapter = session.adapter()
        loads = session.bench_load(load_options, progress)
        medians = []
        for run in runs:
            progress.start(f"{run.repeats} runs of {run.prefill} + {run.decode} tokens")
            medians.append(session.bench(asdict(run))["median"])
    loaded = loads["info"]
    return [
        Measured(
            bundle=bundle.name,
            browser=adapter.browser,
            adapter=adapter.name,
            software=adapter.software,
            tier=str(loaded["tier"]),
            activations=str(loaded["activations"]),
            prefill_tokens=run.prefill,
            decode_tokens=run.decode,
            context=run.context,
            repeats=run.repeats,
            weights_bytes=int(loads["bytes"]),
            fetch_seconds=float(loads["fetch_s"]),
            load=_visit(loads["first"]),
            load_again=_visit(loads["again"]),
            prefill_tokens_per_second=float(speeds["prefill_tokens_per_s"]),
            time_to_first_token_seconds=float(speeds["time_to_first_token_s"]),
            decode_tokens_per_second=float(speeds["decode_tokens_per_s"]),
        )
        for run, speeds in zip(runs, medians, strict=True)
    ]


def _visit(times: dict[str, float]) -> Load:
    return Load(times["load_s"], times["weights_s"], times["first_token_s"])


def measure_profile(
    bundle: Path,
    prefill: int,
    context: int | None,
    repeats: int,
    load_options: LoadOptions,
    chromium: Path | None,
    progress: Progress,
) -> Profile:
    """Load, then profile a decode step at ``context`` (512 where they fit) and a prefill chunk of at most
    ``prefill`` tokens."""
    with open_session(bundle, chromium, progress, [EXACT_TIMESTAMPS]) as session:
        adapter = session.adapter()
        session.load(load_options, progress, profile=True)
        progress.start("time every kernel")
        options = {"prefill": prefill, "repeats": repeats, **({"context": context} if context else {})}
        profile = session.profile(options)
    where = {"browser": adapter.browser, "adapter": adapter.name}
    return Profile.from_json({"format": FORMAT, "version": VERSION, **where, **profile})
