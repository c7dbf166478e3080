"""Says how text is cut before byte-level BPE, for each ``tokenizer.ggml.pre``, as ``tokenizers`` serializes it.

Each entry is what the models of that name publish in their own tokenizer.json, except ``default``, which is
llama.cpp's (src/llama-vocab.cpp) since such files do not say what their model used. A name is that of the first model
with such a pipeline: Pythia's, RedPajama's and StableLM Zephyr's is ``olmo``, and OLMo-2's ``dbrx``.
"""

from __future__ import annotations

from typing import Any

from mlcweb.errors import UnsupportedError
from mlcweb.sources.gguf.reader import describe

BYTE_LEVEL_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _byte_level(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def _sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


_SMOLLM_PRE = _sequence({"type": "Digits", "individual_digits": True}, _byte_level(True))
_LLAMA3_PRE = _sequence(_split(_LLAMA3), _byte_level(False))
_QWEN2_PRE = _sequence(_split(_QWEN2), _byte_level(False))
_NFC = {"type": "NFC"}

# name: (normalizer, pre-tokenizer, ignore_merges: a piece that is a token is that token, however it would
# merge)
_PIPELINES: dict[str, tuple[dict[str, Any] | None, dict[str, Any], bool]] = {
    "default": (None, _sequence(*map(_split, _DEFAULT), _byte_level(False)), False),
    "gpt-2": (None, _byte_level(True), False),
    "phi-2": (None, _byte_level(True), False),
    "gpt-neox": (_NFC, _byte_level(True), False),
    "olmo": (_NFC, _byte_level(True), False),
    "dbrx": (None, _LLAMA3_PRE, False),
    "gpt-4o": (None, _sequence(_split(_GPT4O), _byte_level(False)), False),
    "llama-bpe": (None, _LLAMA3_PRE, True),
    "llama-v3": (None, _LLAMA3_PRE, True),
    "llama3": (None, _LLAMA3_PRE, True),
    "qwen2": (_NFC, _QWEN2_PRE, False),
    "deepseek-r1-qwen": (None, _QWEN2_PRE, False),
    "stablelm2": (_NFC, _QWEN2_PRE, False),
    "smollm": (None, _SMOLLM_PRE, False),
}


def byte_level_pipeline(name: str) -> tuple[dict[str, Any] | None, dict[str, Any], bool]:
    """Normalizer, pre-tokenizer and ``ignore_merges`` for a ``tokenizer.ggml.pre`` name.

    Raises UnsupportedError naming those known: a wrong guess tokenizes most text rightly and numbers wrongly.
    """
    if name not in _PIPELINES:
        raise UnsupportedError(
            f"the pre-tokenizer {describe(name)} is not supported; known: {', '.join(_PIPELINES)}",
            hint="Compile the model's safetensors checkpoint; its tokenizer.json is used as it is.",
        )
    return _PIPELINES[name]
