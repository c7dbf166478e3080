"""Cuts the text that models are judged on into windows of tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mlcweb.errors import SourceError

# Tokens that a model sees at most: each window begins with an empty context.
WINDOW = 512
# Tokens of an excerpt, where not the whole text is taken.
EXCERPT = 64
_LARGEST = 64 << 20


@dataclass(frozen=True)
class Window:
    """``tokens`` are fed from an empty KV cache; each from ``first`` on is predicted by what is before it."""

    tokens: tuple[int, ...]
    first: int

    @property
    def predicted(self) -> int:
        """Tokens that are predicted."""
        return len(self.tokens) - self.first


def held_out() -> str:
    """The text that ships with mlcweb: several languages, code, dialogue and JSON; none of it is for calibration."""
    return resources.files("mlcweb.evaluate").joinpath("held_out.txt").read_text(encoding="utf-8")


def held_out_digest() -> str:
    """sha256 of that text."""
    return hashlib.sha256(held_out().encode()).hexdigest()


def read_text(path: Path) -> str:
    """A file's text. Raises SourceError when it is no UTF-8, or has nothing in it."""
    try:
        if path.stat().st_size > _LARGEST:
            raise SourceError(
                f"{path}: larger than {_LARGEST >> 20} MiB", hint="A few hundred kB are enough: give a part."
            )
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8 at byte {error.start}", hint="Save it as UTF-8.") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not text.strip():
        raise SourceError(f"{path}: holds no text", hint="Give a file of a few kB or more.")
    return text


def excerpts(tokens: Sequence[int], count: int) -> list[int]:
    """``count`` of the tokens, as excerpts from all over the text one after the other; all where there are no more."""
    if count >= len(tokens):
        return list(tokens)
    number = -(-count // EXCERPT)
    sizes = [count * (i + 1) // number - count * i // number for i in range(number)]
    gap, taken = (len(tokens) - count) / number, list[int]()
    for i, size in enumerate(sizes):
        start = round(gap * i) + len(taken)
        taken += tokens[start : start + size]
    return taken


def windows(tokens: Sequence[int], prefix: Sequence[int], length: int) -> list[Window]:
    """The tokens in windows of at most ``length``, each after ``prefix``, what the tokenizer puts before a text.

    The first token of a window without a prefix is given, not predicted. Raises ValueError where there is no room.
    """
    room = length - len(prefix)
    if room < 1 + (not prefix):
        raise ValueError(f"a window of {length} tokens has no room after {len(prefix)}")
    first = max(len(prefix), 1)
    parts = [tokens[start : start + room] for start in range(0, len(tokens), room)]
    made = [Window((*prefix, *part), first) for part in parts]
    return [window for window in made if window.predicted > 0]
