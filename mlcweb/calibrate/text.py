"""Has the text that a model is calibrated on: the user's, or mlcweb's own of prose, code, dialogues and data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlcweb.errors import SourceError

# Too few tokens say little about a column; the floor is what mlcweb's own text has, several times over.
FEWEST_TOKENS = 256
MAX_BYTES = 4 << 20
SPAN = 128  # tokens that stay together where a text has more than are run


@dataclass(frozen=True)
class Text:
    """A text, and how it is called: a file's name, or ``mlcweb``."""

    name: str
    content: str

    @property
    def sha256(self) -> str:
        """Of its bytes in UTF-8, lower-case hex."""
        return hashlib.sha256(self.content.encode()).hexdigest()


def own_text() -> Text:
    """The text written for mlcweb, about 5,000 tokens."""
    return Text("mlcweb", Path(__file__).with_name("text.txt").read_text(encoding="utf-8"))


def read_text(path: Path) -> Text:
    """A file of the user's. Raises SourceError for one that cannot be read, is empty, not UTF-8, or too large."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SourceError(
                f"{path}: has {path.stat().st_size >> 20} MB, more than the {MAX_BYTES >> 20} that are read",
                hint="A calibration uses a few thousand tokens at most: give a part of the text.",
            )
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: is not text in UTF-8: {error.reason} at byte {error.start}",
            hint="--calibrate takes a plain text, such as what the model is to be used for.",
        ) from None
    if not content.strip():
        raise SourceError(f"{path}: is empty", hint="Leave out --calibrate: mlcweb has a text of its own.")
    return Text(path.name, content)


def spread(tokens: Sequence[int], count: int) -> list[int]:
    """About ``count`` of the tokens, in spans from all over the text; all where there are no more."""
    if len(tokens) <= count:
        return list(tokens)
    spans = max(1, count // SPAN)
    starts = [i * (len(tokens) - SPAN) // max(1, spans - 1) for i in range(spans)]
    return [token for start in starts for token in tokens[start : start + SPAN]]
