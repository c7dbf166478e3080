"""Checks a validation before an answer is compared with it."""

from __future__ import annotations

from typing import Any

from mlcweb.bundle.check import check_schema
from mlcweb.bundle.manifest import Manifest
from mlcweb.errors import BundleError


def check_validation(validation: Any, manifest: Manifest, file: str) -> None:
    """The validation's schema, that each id is a token, and that every step has one. Raises BundleError by field."""
    check_schema(validation, "validation", file)
    vocabulary = manifest.model.vocab_size

    def check(field: str, ids: list[int]) -> None:
        for i, token in enumerate(ids):
            if token >= vocabulary:
                raise BundleError(f"{file}: {field}[{i}]: {token} is outside the vocabulary")

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
