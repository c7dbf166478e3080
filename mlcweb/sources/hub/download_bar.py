"""Bridges huggingface_hub's progress bars (tqdm classes) to the compiler's progress protocol."""

from __future__ import annotations

import threading
from typing import Any

from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

from mlcweb.progress import Progress


def forward_bytes(progress: Progress, size: int) -> type[tqdm]:
    """A tqdm class for one file of ``size`` bytes that draws nothing and reports what is downloaded.

    The library makes one or two bars of it (with Xet storage, bytes received and bytes written) and may
    start over after a dropped connection: what is reported is how far the foremost got, never more than
    ``size``. A file that was cached makes no bar and so reports nothing.
    """
    lock = threading.Lock()
    reported = 0

    class Bar(tqdm):
        # A real tqdm, because the library reads n, total and more of it, and what it reads changes with
        # versions.
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **(options | {"disable": True}))  # type: ignore[no-untyped-call]
            self.update(0)

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal reported
            self.n += n or 0
            with lock:
                advanced = min(int(self.n), size) - reported
                if advanced > 0:
                    reported += advanced
                    progress.advance(advanced)
            return None

    return Bar
