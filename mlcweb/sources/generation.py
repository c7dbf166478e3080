"""Reads how answers are sampled where nobody says otherwise, from generation_config.json, as transformers does."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from mlcweb.contract.constants import MAX_INT32
from mlcweb.contract.manifest import GenerationDefaults
from mlcweb.errors import CheckpointError

GENERATION_FILE = "generation_config.json"
# What a request may ask for, which the manifest's schema says too.
_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_k": (0, MAX_INT32),
    "repetition_penalty": (0.01, 100),
}
_OF_SAMPLING = ("temperature", "top_p", "top_k")


def read_generation(files: Mapping[str, bytes]) -> GenerationDefaults | None:
    """The sampling that the file asks for; None if it asks for none.

    transformers decodes greedily unless ``do_sample`` is true, and does not look at temperature, top_p and top_k
    then. So they count only beside it; repetition_penalty always does. Raises CheckpointError for values that no
    request may have.
    """
    content = json.loads(files.get(GENERATION_FILE, b"{}"))
    names = [*(_OF_SAMPLING if content.get("do_sample") is True else ()), "repetition_penalty"]
    values = {name: _number(name, content[name]) for name in names if content.get(name) is not None}
    return GenerationDefaults(**values) if values else None  # type: ignore[arg-type]


def _number(name: str, value: object) -> float | int:
    """A whole number is an int: the manifest has no fraction that is zero."""
    least, most = _RANGES[name]
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    whole = least <= number <= most and number == int(number)
    if not least <= number <= most or (name == "top_k" and not whole):
        kind = "a whole number" if name == "top_k" else "a number"
        raise CheckpointError(
            f"{GENERATION_FILE}: {name} is {value!r:.100}, not {kind} from {least:g} to {most}",
            hint="Write such a number, or remove the key: a page can ask for its own sampling.",
        )
    return int(number) if whole else float(number)
