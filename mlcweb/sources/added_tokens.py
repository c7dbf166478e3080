"""Makes tokenizer.json say all that transformers knows of a tokenizer's tokens: the engine reads no other file.

transformers adds what tokenizer_config.json's ``added_tokens_decoder`` (in older checkpoints added_tokens.json and
special_tokens_map.json) and the named special tokens have and tokenizer.json has not; the ids are those that the
``tokenizers`` library gives, also to tokens whose stored id is another. Padding and truncation, which training leaves
in the file, are for batches and never applied to a prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mlcweb.errors import CheckpointError
from mlcweb.sources.tokenizer_check import SAVE_AGAIN, guarded, is_token_id, load_tokenizer, parse_tokenizer

ADDED_TOKENS_FILE = "added_tokens.json"
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FLAGS = ("single_word", "lstrip", "rstrip")


def merge_special_map(config: Mapping[str, Any], special: Mapping[str, Any]) -> dict[str, Any]:
    """tokenizer_config.json with special_tokens_map.json's tokens, which older versions of transformers kept there."""
    return dict(config) if "added_tokens_decoder" in config else {**config, **special}


def complete_tokenizer(
    data: bytes,
    config: Mapping[str, Any],
    added: Mapping[str, Any],
    *,
    where: str = "tokenizer.json",
    vocab_size: int | None = None,
) -> bytes:
    """tokenizer.json with the tokens of ``config`` (tokenizer_config.json) and ``added`` (added_tokens.json).

    The bytes are ``data`` where there is nothing to change. A token that is added past ``vocab_size`` is left out: the
    model has no embedding for it. Raises CheckpointError for wrong types and for what the library does not take.
    """
    definition = parse_tokenizer(data, where)
    stored = {token["content"]: _entry(token) for token in definition["added_tokens"]}
    missing = list(_missing(stored, config, added))
    trimmed = {**definition, "padding": None, "truncation": None}
    if missing or not _numbered(definition):
        trimmed["added_tokens"] = _numbered_by_library(data, definition, missing, vocab_size)
    if trimmed == {"padding": None, "truncation": None, **definition}:
        return data
    # half a surrogate pair is refused with the rest that is no UTF-8
    return json.dumps(trimmed, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _missing(
    stored: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any], added: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """What transformers adds, in its order."""
    listed = dict(_listed(config, added))
    known = set(stored)
    for _, token in sorted(listed.items()):
        known.add(token["content"])
        if stored.get(token["content"]) != token:
            yield token
    for token in _named(config):
        if token["content"] not in known:
            known.add(token["content"])
            yield token


def _listed(config: Mapping[str, Any], added: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Tokens that are listed with their ids."""
    if "added_tokens_decoder" in config:
        decoder = config["added_tokens_decoder"]
        if not isinstance(decoder, dict):
            raise _unusable(f"tokenizer_config.json: added_tokens_decoder is {decoder!r:.60}, not an object")
        for key, token in decoder.items():
            if not (key.isdecimal() and is_token_id(int(key))) or not isinstance(token, dict):
                raise _unusable(f"tokenizer_config.json: added_tokens_decoder has no token at {key!r:.60}")
            yield int(key), _entry(token, f"tokenizer_config.json: added_tokens_decoder.{key}")
        return
    special = {token["content"] for token in _named(config)}
    for text, number in added.items():
        if not is_token_id(number):
            raise _unusable(f"{ADDED_TOKENS_FILE}: {text!r:.60} has the id {number!r:.60}")
        yield number, _entry({"content": text, "special": text in special})


def _named(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The tokens that have names, such as ``eos_token``, and those for other uses."""
    others = [key for key in config if key.endswith("_token") and key not in _NAMED]
    named = [config.get(key) for key in (*_NAMED, *others)]
    more = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    for token in [
        *named,
        *(more.values() if isinstance(more, dict) else more if isinstance(more, list) else []),
    ]:
        if isinstance(token, str) and token:
            yield _entry({"content": token, "special": True})
        elif isinstance(token, dict) and isinstance(token.get("content"), str) and token["content"]:
            yield _entry({**token, "special": True})


def _entry(token: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """A token without its id, its flags as the library takes them."""
    content, special = token.get("content"), token.get("special", False)
    normalized = token.get("normalized", not special)
    entry = {
        "content": content,
        **{flag: token.get(flag, False) for flag in _FLAGS},
        "normalized": normalized,
        "special": special,
    }
    if where and not (
        isinstance(content, str) and all(isinstance(entry[key], bool) for key in entry if key != "content")
    ):
        raise _unusable(f"{where} is {dict(token)!r:.120}, which is no token")
    return entry


def _numbered(definition: Mapping[str, Any]) -> bool:
    """Whether the stored ids are those that the library gives: the vocabulary's, or the next after all others."""
    vocab = definition["model"]["vocab"]
    if not isinstance(vocab, dict):
        vocab = {
            entry[0]: i
            for i, entry in enumerate(vocab)
            if isinstance(entry, list) and entry[:1] and isinstance(entry[0], str)
        }
    following = len(vocab)
    for token in definition["added_tokens"]:
        known = vocab.get(token["content"])
        if token["id"] != (following if known is None else known):
            return False
        following += known is None
    return True


def _numbered_by_library(
    data: bytes, definition: Mapping[str, Any], missing: list[dict[str, Any]], vocab_size: int | None
) -> list[dict[str, Any]]:
    from tokenizers import AddedToken

    tokenizer = load_tokenizer(data)
    before = {token["content"] for token in definition["added_tokens"]}
    guarded(lambda: tokenizer.add_tokens([AddedToken(**token) for token in missing]))
    entries = []
    for number, token in sorted(tokenizer.get_added_tokens_decoder().items()):
        if token.content in before or vocab_size is None or number < vocab_size:
            flags = {flag: getattr(token, flag) for flag in (*_FLAGS, "normalized", "special")}
            entries.append({"id": number, "content": token.content, **flags})
    return entries


def _unusable(what: str) -> CheckpointError:
    return CheckpointError(what, hint=SAVE_AGAIN)
