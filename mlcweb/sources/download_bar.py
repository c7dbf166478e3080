"""Bridges huggingface_hub's progress bars (tqdm classes) to the compiler's progress protocol."""

from __future__ import annotations

from typing import Any

from mlcweb.progress import Progress


def forward_bytes(progress: Progress, size: int) -> Any:
    """A tqdm stand-in for one file of ``size`` bytes that draws nothing and reports what is downloaded.

    A file that was cached makes no bar and so reports nothing: the stage's total is an upper bound.
    """

    class Bar:
        def __init__(self, *args: Any, **options: Any) -> None:
            self.done = 0
            self.total = size
            self._report(options.get("initial") or 0)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *error: object) -> None: ...

        def __getattr__(self, name: str) -> Any:
            # tqdm has some thirty methods about drawing, and which are called changes between versions.
            return lambda *args, **options: None

        def update(self, amount: float | None = 1) -> None:
            self._report(int(amount or 0))

        def _report(self, amount: int) -> None:
            # A restarted download may count bytes twice; a bar past its end would be worse than one that
            # waits.
            amount = min(amount, size - self.done)
            if amount > 0:
                self.done += amount
                progress.advance(amount)

    return Bar
