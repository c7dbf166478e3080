"""What is found of a host, a line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """``error``: a load fails. ``warning``: it works, and something of it is worse. ``fix``: what to set, if anything.

    ``about`` is what was looked at, such as ``cors``, and ``file`` the name that was asked for.
    """

    level: Level
    about: str
    file: str
    said: str
    fix: str = ""
