"""Checks a validation before an answer is compared with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlcweb.bundle.check import check_schema
from mlcweb.bundle.manifest import Manifest
from mlcweb.errors import BundleError


def check_validation(validation: Any, manifest: Manifest, file: str) -> None:
    """The validation's schema, that each id is a token, and that every step has one. Raises BundleError by field."""
    check_schema(validation, "validation", file)
    check = _tokens_of(manifest, file)
    check("tokens", validation["tokens"])
    check("greedy", validation["greedy"])
    for i, step in enumerate(validation["steps"]):
        check(f"steps[{i}].top", [token for token, _ in step["top"]])
    for i, chat in enumerate(validation.get("chats", [])):
        check(f"chats[{i}].tokens", chat.get("tokens", []))
        if ("text" in chat) == ("refused" in chat):
            raise BundleError(f"{file}: chats[{i}]: has either a text or that it is refused")
    if len(validation["steps"]) != len(validation["greedy"]):
        raise BundleError(
            f"{file}: steps: {len(validation['steps'])} for {len(validation['greedy'])} greedy tokens"
        )


def check_text_validation(validation: Any, manifest: Manifest, file: str) -> None:
    """The same of a model of whole texts: an embedding has its dimensions, and only a pair has a document."""
    check_schema(validation, "text_validation", file)
    check, width = _tokens_of(manifest, file), manifest.embedding.dimensions if manifest.embedding else 1
    for i, text in enumerate(validation["texts"]):
        check(f"texts[{i}].tokens", text["tokens"])
        if len(text["tokens"]) > manifest.model.context_length:
            raise BundleError(f"{file}: texts[{i}].tokens: {len(text['tokens'])}, more than a text may have")
        if len(text["output"]) != width:
            raise BundleError(f"{file}: texts[{i}].output: {len(text['output'])} of {width} numbers")
        if ("document" in text) != (manifest.reranking is not None):
            raise BundleError(f"{file}: texts[{i}].document: is for a model that scores documents")


def _tokens_of(manifest: Manifest, file: str) -> Callable[[str, list[int]], None]:
    """Checks that a field's ids are tokens."""
    vocabulary = manifest.model.vocab_size

    def check(field: str, ids: list[int]) -> None:
        for i, token in enumerate(ids):
            if token >= vocabulary:
                raise BundleError(f"{file}: {field}[{i}]: {token} is outside the vocabulary")

    return check
