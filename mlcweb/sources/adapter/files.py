"""Finds the files of an adapter that PEFT saved."""

from __future__ import annotations

from mlcweb.errors import SourceError, UnsupportedError

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"


def refuse_pickled(where: str, names: list[str]) -> None:
    """Raise what explains that ``where`` has no adapter_model.safetensors among its files ``names``."""
    if "adapter_model.bin" in names:
        raise UnsupportedError(
            f"{where}: holds only pickled weights (adapter_model.bin), which mlcweb does not load",
            hint="Save it again with PEFT: save_pretrained(folder) writes safetensors.",
        )
    raise SourceError(f"{where}: has no {WEIGHTS_FILE}")
