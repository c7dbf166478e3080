"""Reads adapter_config.json: how strongly each of a LoRA adapter's products counts, and which adapters are refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcweb.errors import CheckpointError, UnsupportedError

# What changes more than a product added to a weight, by the key that asks for it.
_VARIANTS = {
    "use_dora": "DoRA",
    "lora_bias": "a bias of lora_B",
    "trainable_token_indices": "single trained tokens",
    "target_parameters": "LoRA of parameters that are no module",
    "layer_replication": "replicated layers",
    "alora_invocation_tokens": "an activated LoRA",
    "use_qalora": "QA-LoRA",
    "use_bdlora": "BD-LoRA",
    "arrow_config": "Arrow routing",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
}
# Initializations that subtract their product from the base, so that it fits no published checkpoint.
_CHANGES_BASE = ("pissa", "corda", "olora", "loftq", "lora_ga")
_MERGE_FIRST = "Merge it with PEFT: merge_and_unload(), then save_pretrained(), and compile what is saved."


@dataclass(frozen=True)
class AdapterConfig:
    """A LoRA's numbers. ``ranks`` and ``alphas`` are regular expressions of modules that differ; None or a string for
    ``targets`` is as PEFT has it. ``path`` is the file, for errors.
    """

    path: Path
    rank: int
    alpha: float
    rslora: bool
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    targets: tuple[str, ...] | str | None
    saved_modules: tuple[str, ...]
    keeps_tied: bool
    base: str  # what it was trained on, as its trainer called it

    @classmethod
    def read(cls, path: Path, config: Mapping[str, Any]) -> AdapterConfig:
        """Check the file's content. Raises UnsupportedError for other kinds, CheckpointError for odd values."""
        _refuse_variants(path, config)
        ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
        for key, patterns in (("rank_pattern", ranks), ("alpha_pattern", alphas)):
            if not isinstance(patterns, dict):
                raise CheckpointError(f"{path}: {key} is {patterns!r}, not an object")
        targets = config.get("target_modules")
        if not isinstance(targets, str):
            targets = None if targets is None else _strings(path, "target_modules", targets)
        base = config.get("base_model_name_or_path")
        return cls(
            path,
            rank=_rank(path, "r", config.get("r", 8)),
            alpha=_alpha(path, "lora_alpha", config.get("lora_alpha", 8)),
            rslora=bool(config.get("use_rslora")),
            ranks={_pattern(path, key): _rank(path, f"rank_pattern of {key}", ranks[key]) for key in ranks},
            alphas={
                _pattern(path, key): _alpha(path, f"alpha_pattern of {key}", alphas[key]) for key in alphas
            },
            targets=targets if targets is None or isinstance(targets, tuple) else _pattern(path, targets),
            saved_modules=_strings(path, "modules_to_save", config.get("modules_to_save") or []),
            keeps_tied=bool(config.get("ensure_weight_tying")),
            base=base if isinstance(base, str) else "",
        )

    def rank_of(self, module: str) -> int:
        """Columns of the module's B."""
        return next((rank for key, rank in self.ranks.items() if _names(key, module)), self.rank)

    def scaling_of(self, module: str) -> float:
        """What the module's product is multiplied by: alpha / r, or alpha / sqrt(r)."""
        alpha = next((alpha for key, alpha in self.alphas.items() if _names(key, module)), self.alpha)
        rank = self.rank_of(module)
        return alpha / math.sqrt(rank) if self.rslora else alpha / rank

    def targeted(self, module: str) -> bool:
        """Whether ``target_modules`` names the module, as PEFT understands it."""
        if self.targets is None or self.targets == "all-linear":
            return True
        if isinstance(self.targets, str):
            return re.fullmatch(self.targets, module) is not None
        return _is_one_of(module, self.targets)

    def saves(self, module: str) -> bool:
        """Whether ``modules_to_save`` names the module: it was trained whole."""
        return _is_one_of(module, self.saved_modules)


def _refuse_variants(path: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if not isinstance(kind, str) or kind.upper() != "LORA":
        raise UnsupportedError(
            f"{path}: the adapter is {kind if isinstance(kind, str) else 'of no named type'}; mlcweb merges LoRA",
            hint=_MERGE_FIRST,
        )
    for key, what in _VARIANTS.items():
        if config.get(key):
            raise UnsupportedError(
                f"{path}: {key} asks for {what}, which mlcweb does not merge", hint=_MERGE_FIRST
            )
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise UnsupportedError(
            f"{path}: init_lora_weights {start!r} changed the base before training, so it fits no published one",
            hint="Save it with PEFT's path_initial_model_for_weight_conversion, or merge it with PEFT.",
        )


def _rank(path: Path, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CheckpointError(f"{path}: {key} is {value!r}, not a positive whole number")
    return value


def _alpha(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise CheckpointError(f"{path}: {key} is {value!r}, not a number")
    return float(value)


def _strings(path: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise CheckpointError(f"{path}: {key} is {value!r}, not a list of names")
    return tuple(value)


def _pattern(path: Path, pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise CheckpointError(f"{path}: {pattern!r} is no regular expression: {error}") from error
    return pattern


def _names(pattern: str, module: str) -> bool:
    return re.fullmatch(rf"(?:.*\.)?(?:{pattern})", module) is not None


def _is_one_of(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.endswith(f".{name}") for name in names)
