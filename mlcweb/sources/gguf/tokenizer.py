"""Makes tokenizer.json and tokenizer_config.json from a GGUF file's ``tokenizer.ggml.*`` metadata.

Three kinds exist among the supported families: ``gpt2`` (byte-level BPE with merges), ``llama`` (SentencePiece BPE
with scores) and ``gemma4`` (SentencePiece's with merges). Schema: the ``tokenizers`` library's serialization.
"""

from __future__ import annotations

import json
from array import array
from typing import Any

import numpy as np

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources.gguf.file import GgufFile
from mlcweb.sources.gguf.pretokenizers import BYTE_LEVEL_DECODER, byte_level_pipeline
from mlcweb.sources.gguf.reader import describe
from mlcweb.sources.gguf.sentencepiece import rank_merges, sentencepiece_pipeline
from mlcweb.sources.gguf.vocabulary import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Vocabulary, read_list
from mlcweb.sources.tokenizer_json import Merges, write_tokenizer_json

# What follows Phi-3's added tokens belongs to them if it is blank, but for these; GGUF has no place for that.
_PHI3_PLAIN = {"<unk>", "<s>", "<|endoftext|>"}
_SPECIAL_KEYS = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def build_tokenizer_files(file: GgufFile, vocabulary: Vocabulary, max_length: int) -> dict[str, bytes]:
    """``tokenizer.json`` and ``tokenizer_config.json`` as UTF-8 JSON.

    Raises UnsupportedError for another tokenizer model or pre-tokenizer than those known, CheckpointError if
    merges or scores are missing or disagree with the tokens.
    """
    model = file.require("tokenizer.ggml.model", str)
    if model == "gpt2":
        tokenizer, merges = _byte_level(file, vocabulary)
    elif model == "llama":
        tokenizer, merges = _sentencepiece(file, vocabulary)
    elif model == "gemma4":
        tokenizer, merges = _sentencepiece(file, vocabulary, merges=_read_merges(file, vocabulary))
    else:
        raise UnsupportedError(
            f"{file.path}: tokenizer model {describe(model)}", hint="gpt2, llama and gemma4 are known."
        )
    special = {CONTROL} if model == "gpt2" else {CONTROL, UNKNOWN}
    phi3 = model == "llama" and file.metadata.get("general.architecture") == "phi3"
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": vocabulary.tokens[i],
                "single_word": False,
                "lstrip": False,
                "rstrip": phi3 and vocabulary.tokens[i] not in _PHI3_PLAIN,
                "normalized": False,
                "special": kind in special,
            }
            for i, kind in enumerate(vocabulary.types)
            if kind in special or kind == USER_DEFINED
        ],
        **tokenizer,
        "post_processor": _post_processor(file, vocabulary),
    }
    config = _tokenizer_config(file, vocabulary, max_length)
    return {
        "tokenizer.json": write_tokenizer_json(document, vocabulary.tokens, merges),
        "tokenizer_config.json": json.dumps(config, ensure_ascii=False, indent=2).encode(),
    }


def _byte_level(file: GgufFile, vocabulary: Vocabulary) -> tuple[dict[str, Any], Merges]:
    kind = "default"
    if "tokenizer.ggml.pre" in file.metadata:
        kind = file.require("tokenizer.ggml.pre", str)
    merges = _read_merges(file, vocabulary)
    try:
        normalizer, pre_tokenizer, ignore_merges = byte_level_pipeline(kind)
    except UnsupportedError as error:
        raise UnsupportedError(f"{file.path}: {error.message}", hint=error.hint) from None
    tokenizer = {
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "decoder": BYTE_LEVEL_DECODER,
        "model": _bpe(ignore_merges=ignore_merges),
    }
    return tokenizer, merges


def _read_merges(file: GgufFile, vocabulary: Vocabulary) -> Merges:
    """Ids of each merge's tokens, in the file's order."""
    ids, pairs = vocabulary.ids, array("i")
    for merge in read_list(file, "merges", str):
        # Tokens hold no space (it is written Ġ or ▁), but a later one could, so cut after the first letter.
        head, _, right = merge[1:].partition(" ")
        left = merge[:1] + head
        if left not in ids or right not in ids or left + right not in ids:
            raise CheckpointError(
                f"{file.path}: merge {describe(merge)} names tokens that are not in the vocabulary"
            )
        pairs.append(ids[left])
        pairs.append(ids[right])
    return np.array(pairs, np.int32).reshape(-1, 2)


def _sentencepiece(
    file: GgufFile, vocabulary: Vocabulary, merges: Merges | None = None
) -> tuple[dict[str, Any], Merges]:
    """``merges`` are the file's; without them, scores say what is merged before what."""
    tokens, types = vocabulary.tokens, vocabulary.types
    unknown = next((text for i, text in enumerate(tokens) if types[i] == UNKNOWN), None)
    add_prefix = file.metadata.get("tokenizer.ggml.add_space_prefix", True)
    model = _bpe(unk_token=unknown, fuse_unk=True, byte_fallback=True)
    if merges is None:
        scores = np.array(read_list(file, "scores", (int, float)), np.float64)
        if len(scores) != len(tokens):
            raise CheckpointError(f"{file.path}: {len(tokens)} tokens, but {len(scores)} scores")
        merges = rank_merges(tokens, scores, np.array(types) == NORMAL)
    return {**sentencepiece_pipeline(add_prefix), "model": model}, merges


def _bpe(
    *,
    unk_token: str | None = None,
    fuse_unk: bool = False,
    byte_fallback: bool = False,
    ignore_merges: bool = False,
) -> dict[str, Any]:
    """Without its vocabulary and merges, which are added as it is written."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unk_token,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": fuse_unk,
        "byte_fallback": byte_fallback,
        "ignore_merges": ignore_merges,
        "vocab": {},
        "merges": [],
    }


def _adds(file: GgufFile, vocabulary: Vocabulary, name: str) -> bool:
    """Whether text is encoded with a bos or eos token; without the key, what llama.cpp does."""
    meta = file.metadata
    sentencepiece = meta["tokenizer.ggml.model"] == "llama"
    llama3 = meta.get("tokenizer.ggml.pre") in ("llama-bpe", "llama3", "llama-v3")
    default = name == "bos" and (sentencepiece or llama3)
    return name in vocabulary.special and bool(meta.get(f"tokenizer.ggml.add_{name}_token", default))


def _post_processor(file: GgufFile, vocabulary: Vocabulary) -> dict[str, Any] | None:
    """Adds bos before, and eos after, each sequence, if the file says so."""
    special = {
        name: vocabulary.tokens[vocabulary.special[name]]
        for name in ("bos", "eos")
        if _adds(file, vocabulary, name)
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
            text: {"id": text, "ids": [vocabulary.ids[text]], "tokens": [text]} for text in special.values()
        },
    }


def _tokenizer_config(file: GgufFile, vocabulary: Vocabulary, max_length: int) -> dict[str, Any]:
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": _adds(file, vocabulary, "bos"),
        "add_eos_token": _adds(file, vocabulary, "eos"),
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
    }
    for name, gguf_name in _SPECIAL_KEYS.items():
        if gguf_name in vocabulary.special:
            config[f"{name}_token"] = vocabulary.tokens[vocabulary.special[gguf_name]]
    if "tokenizer.chat_template" in file.metadata:
        config["chat_template"] = file.require("tokenizer.chat_template", str)
    return config
