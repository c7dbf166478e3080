"""Makes generation_config.json of a GGUF file's ``general.sampling`` keys, which few files have."""

from __future__ import annotations

import json

from mlcweb.sources.generation import GENERATION_FILE
from mlcweb.sources.gguf.file import GgufFile
from mlcweb.sources.gguf.metadata import without_noise

_KEYS = {
    "temp": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "penalty_repeat": "repetition_penalty",
}


def build_generation_config(file: GgufFile) -> dict[str, bytes]:
    """The file by its name, if there is anything in it. Raises CheckpointError for a key that is no number."""
    config = {}
    for key, name in _KEYS.items():
        full = f"general.sampling.{key}"
        if full in file.metadata:
            value = file.require(full, (int, float))
            config[name] = without_noise(value) if isinstance(value, float) else value
    return {GENERATION_FILE: json.dumps({"do_sample": True, **config}).encode()} if config else {}
