"""Changes a JSON file of a checkpoint, as one that contradicts itself has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[dict[str, Any]], Any]


def edit(path: Path, change: Change) -> None:
    """Do ``change`` to what the file holds."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
