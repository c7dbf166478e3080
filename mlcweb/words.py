"""Quotes the words of a command line for the user to copy."""

from __future__ import annotations

import shlex
from pathlib import Path


def quoted(word: str | Path) -> str:
    """One word for a POSIX shell, in quotes where it needs them; one that looks like an option is made a path."""
    text = str(word)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
