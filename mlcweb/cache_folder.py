"""Names the folder where mlcweb keeps what it can fetch or make again."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache_dir() -> Path:
    """``$MLCWEB_CACHE``, or ``~/.cache/mlcweb``."""
    return Path(os.environ.get("MLCWEB_CACHE") or Path.home() / ".cache" / "mlcweb").expanduser()
