"""tokenizer.json and tokenizer_config.json from a GGUF file's ``tokenizer.ggml.*`` metadata.

Two kinds exist among the supported families: ``gpt2`` (byte-level BPE with merges) and ``llama`` (SentencePiece BPE
with scores). Schema: the ``tokenizers`` library's serialization; token types are llama.cpp's
``llama_token_type``.
"""

from __future__ import annotations

import json
from typing import Any

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources.gguf_file import GgufFile
from mlcweb.sources.pretokenizers import BYTE_LEVEL_DECODER, byte_level_pipeline
from mlcweb.sources.sentencepiece import rank_merges, sentencepiece_pipeline

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4
_ADDED = (_CONTROL, _USER_DEFINED)  # converters give some models' special tokens the second type

# llama.cpp ends a generation at these control tokens too, whatever eos_token_id says: chat models end a turn
# with one token and a document with another, and GGUF has room for one.
_STOP_TEXTS = {
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<end_of_turn>",
}
_STOP_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
# What follows Phi-3's added tokens belongs to them if it is blank, but for these; GGUF has no place for that.
_PHI3_PLAIN = {"<unk>", "<s>", "<|endoftext|>"}
_SPECIAL_KEYS = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def find_stop_ids(file: GgufFile) -> tuple[int, ...]:
    """Every token id that ends a generation: eos first, then the others sorted."""
    meta = file.metadata
    ids = [meta[f"tokenizer.ggml.{key}"] for key in _STOP_KEYS if f"tokenizer.ggml.{key}" in meta]
    tokens, types = _vocabulary(file)
    others = {i for i, text in enumerate(tokens) if types[i] in _ADDED and text in _STOP_TEXTS}
    return tuple(dict.fromkeys([*ids[:1], *sorted(others.union(ids[1:]))]))


def build_tokenizer_files(file: GgufFile, max_length: int) -> dict[str, bytes]:
    """``tokenizer.json`` and ``tokenizer_config.json`` as UTF-8 JSON.

    Raises UnsupportedError for another tokenizer model or pre-tokenizer than those known, CheckpointError if
    tokens, types, merges or scores are missing or disagree.
    """
    model = file.require("tokenizer.ggml.model", str)
    tokens, types = _vocabulary(file)
    vocab = {text: i for i, text in enumerate(tokens)}
    if len(vocab) != len(tokens):
        raise CheckpointError(f"{file.path}: tokenizer.ggml.tokens repeats a token")
    if model == "gpt2":
        tokenizer = _byte_level(file, vocab)
    elif model == "llama":
        tokenizer = _sentencepiece(file, vocab, types)
    else:
        raise UnsupportedError(f"{file.path}: tokenizer model {model!r}", hint="gpt2 and llama are known.")
    special = {_CONTROL, _UNKNOWN} if model == "llama" else {_CONTROL}
    phi3 = model == "llama" and file.metadata.get("general.architecture") == "phi3"
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": phi3 and text not in _PHI3_PLAIN,
                "normalized": False,
                "special": types[i] in special,
            }
            for i, text in enumerate(tokens)
            if types[i] in special or types[i] == _USER_DEFINED
        ],
        **tokenizer,
        "post_processor": _post_processor(file, tokens),
    }
    config = _tokenizer_config(file, tokens, max_length)
    return {
        "tokenizer.json": json.dumps(document, ensure_ascii=False, indent=1).encode(),
        "tokenizer_config.json": json.dumps(config, ensure_ascii=False, indent=2).encode(),
    }


def _vocabulary(file: GgufFile) -> tuple[list[str], list[int]]:
    tokens = file.require("tokenizer.ggml.tokens", list)
    types = file.metadata.get("tokenizer.ggml.token_type") or [_NORMAL] * len(tokens)
    if len(types) != len(tokens):
        raise CheckpointError(f"{file.path}: {len(tokens)} tokens, but {len(types)} token types")
    for key in (*_STOP_KEYS, *(f"{name}_token_id" for name in _SPECIAL_KEYS.values())):
        value = file.metadata.get(f"tokenizer.ggml.{key}", 0)
        if not isinstance(value, int) or not 0 <= value < len(tokens):
            raise CheckpointError(f"{file.path}: tokenizer.ggml.{key} is {value!r} of {len(tokens)} tokens")
    return tokens, types


def _byte_level(file: GgufFile, vocab: dict[str, int]) -> dict[str, Any]:
    kind = file.metadata.get("tokenizer.ggml.pre", "default")
    merges = []
    for merge in file.require("tokenizer.ggml.merges", list):
        # Byte-level tokens hold no space (it is written Ġ), but a later one could, so cut after the first
        # letter.
        head, _, right = merge[1:].partition(" ")
        left = merge[:1] + head
        if left not in vocab or right not in vocab or left + right not in vocab:
            raise CheckpointError(f"{file.path}: merge {merge!r} names tokens that are not in the vocabulary")
        merges.append([left, right])
    normalizer, pre_tokenizer, ignore_merges = byte_level_pipeline(kind)
    return {
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "decoder": BYTE_LEVEL_DECODER,
        "model": _bpe(vocab, merges, ignore_merges=ignore_merges),
    }


def _sentencepiece(file: GgufFile, vocab: dict[str, int], types: list[int]) -> dict[str, Any]:
    scores = file.require("tokenizer.ggml.scores", list)
    if len(scores) != len(vocab):
        raise CheckpointError(f"{file.path}: {len(vocab)} tokens, but {len(scores)} scores")
    normal = {text: scores[i] for text, i in vocab.items() if types[i] == _NORMAL}
    unknown = next((text for text, i in vocab.items() if types[i] == _UNKNOWN), None)
    add_prefix = file.metadata.get("tokenizer.ggml.add_space_prefix", True)
    model = _bpe(vocab, rank_merges(vocab, normal), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    return {**sentencepiece_pipeline(add_prefix), "model": model}


def _bpe(
    vocab: dict[str, int],
    merges: list[list[str]],
    *,
    unk_token: str | None = None,
    fuse_unk: bool = False,
    byte_fallback: bool = False,
    ignore_merges: bool = False,
) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unk_token,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": fuse_unk,
        "byte_fallback": byte_fallback,
        "ignore_merges": ignore_merges,
        "vocab": vocab,
        "merges": merges,
    }


def _adds(file: GgufFile, name: str) -> bool:
    """Whether text is encoded with a bos or eos token; without the key, what llama.cpp does."""
    meta = file.metadata
    sentencepiece = meta["tokenizer.ggml.model"] == "llama"
    llama3 = meta.get("tokenizer.ggml.pre") in ("llama-bpe", "llama3", "llama-v3")
    default = name == "bos" and (sentencepiece or llama3)
    has_token = f"tokenizer.ggml.{name}_token_id" in meta
    return has_token and bool(meta.get(f"tokenizer.ggml.add_{name}_token", default))


def _post_processor(file: GgufFile, tokens: list[str]) -> dict[str, Any] | None:
    """Adds bos before, and eos after, each sequence, if the file says so."""
    special = {
        name: tokens[file.metadata[f"tokenizer.ggml.{name}_token_id"]]
        for name in ("bos", "eos")
        if _adds(file, name)
    }
    if not special:
        return None

    def sequence(which: str, type_id: int) -> list[dict[str, Any]]:
        body: list[dict[str, Any]] = [{"Sequence": {"id": which, "type_id": type_id}}]
        before = [{"SpecialToken": {"id": special["bos"], "type_id": type_id}}] if "bos" in special else []
        after = [{"SpecialToken": {"id": special["eos"], "type_id": type_id}}] if "eos" in special else []
        return before + body + after

    return {
        "type": "TemplateProcessing",
        "single": sequence("A", 0),
        "pair": sequence("A", 0) + sequence("B", 1),
        "special_tokens": {
            text: {"id": text, "ids": [tokens.index(text)], "tokens": [text]} for text in special.values()
        },
    }


def _tokenizer_config(file: GgufFile, tokens: list[str], max_length: int) -> dict[str, Any]:
    meta = file.metadata
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": _adds(file, "bos"),
        "add_eos_token": _adds(file, "eos"),
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
    }
    for name, gguf_name in _SPECIAL_KEYS.items():
        if f"tokenizer.ggml.{gguf_name}_token_id" in meta:
            config[f"{name}_token"] = tokens[meta[f"tokenizer.ggml.{gguf_name}_token_id"]]
    if "tokenizer.chat_template" in meta:
        config["chat_template"] = file.require("tokenizer.chat_template", str)
    return config
