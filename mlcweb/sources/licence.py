"""Finds the licence that a model's publisher states: in the model card's front matter, or in GGUF metadata."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

CARD_FILE = "README.md"
_LONGEST = 100
_FRONT_MATTER = re.compile(r"\A\ufeff?---\r?\n(.*?)\r?\n---", re.DOTALL)
_KEY = r"^{key}:[ \t]*[\"']?([^\"'#\r\n]+)"


def read_licence(folder: Path) -> str:
    """The card's ``license`` (its ``license_name`` where that is "other"), or "" where none is stated."""
    try:
        with open(folder / CARD_FILE, encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 16)
    except OSError:
        return ""
    front = _FRONT_MATTER.match(text)
    if front is None:
        return ""
    stated = _find(front[1], "license")
    return (_find(front[1], "license_name") or stated) if stated == "other" else stated


def _find(front: str, key: str) -> str:
    match = re.search(_KEY.format(key=key), front, re.MULTILINE)
    return clean_licence(match[1]) if match else ""


def clean_licence(value: Any) -> str:
    """A licence's name on one short line; "" for anything that is no such name."""
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return text if len(text) <= _LONGEST else ""
