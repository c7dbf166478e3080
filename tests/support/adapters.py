"""Writes LoRA adapters as PEFT saves them, from numpy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

PREFIX = "base_model.model."
Tensors = dict[str, np.ndarray]


def lora(
    module: str, out: int, across: int, *, r: int = 4, seed: int = 1, dtype: Any = np.float32, name: str = ""
) -> Tensors:
    """lora_A [r, across] and lora_B [out, r] of a module, without PEFT's prefix; ``name`` is the adapter's own."""
    rng = np.random.default_rng(seed)
    middle = f".{name}" if name else ""
    return {
        f"{module}.lora_A{middle}.weight": (rng.standard_normal((r, across), np.float32) / 4).astype(dtype),
        f"{module}.lora_B{middle}.weight": (rng.standard_normal((out, r), np.float32) / 4).astype(dtype),
    }


def make_adapter(folder: Path, tensors: Mapping[str, np.ndarray], **config: Any) -> Path:
    """Write the adapter and return its folder; ``config`` overrides what is plain LoRA of rank 4, alpha 8."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "org/tiny", "r": 4, "lora_alpha": 8,
        "use_rslora": False, "use_dora": False, "lora_dropout": 0.05, "bias": "none", "fan_in_fan_out": False,
        "init_lora_weights": True, "target_modules": None, "modules_to_save": None, "rank_pattern": {},
        "alpha_pattern": {}, "inference_mode": True, **config,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(found))
    save_file({PREFIX + name: array for name, array in tensors.items()}, folder / "adapter_model.safetensors")
    return folder
