"""Checks the parts of tokenizer.json that the compiler reads, and lets the ``tokenizers`` library read the whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from mlcweb.errors import CheckpointError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

T = TypeVar("T")

SAVE_AGAIN = "Save it anew with transformers: AutoTokenizer.from_pretrained(...).save_pretrained(folder)."


def parse_tokenizer(data: bytes, where: str = "tokenizer.json") -> dict[str, Any]:
    """The definition, of which ``added_tokens`` and the model's vocabulary are of the right types.

    ``added_tokens`` is a list, empty where it is missing. Raises CheckpointError naming ``where``.
    """
    try:
        definition = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _unusable(where, f"is not JSON: {error}") from error
    if not isinstance(definition, dict):
        raise _unusable(where, f"holds a JSON {type(definition).__name__}, not an object")
    added = definition.get("added_tokens") or []
    if not isinstance(added, list):
        raise _unusable(where, f"added_tokens is a {type(added).__name__}, not a list")
    for i, token in enumerate(added):
        if not isinstance(token, dict):
            raise _unusable(where, f"added_tokens[{i}] is {_brief(token)}, not an object")
        if not is_token_id(token.get("id")):
            raise _unusable(where, f"added_tokens[{i}] has the id {_brief(token.get('id'))}")
        if not isinstance(token.get("content"), str):
            raise _unusable(where, f"added_tokens[{i}] has the content {_brief(token.get('content'))}")
    model = definition.get("model")
    if not isinstance(model, dict):
        raise _unusable(where, f"model is {_brief(model)}, not an object")
    vocab = model.get("vocab")
    if isinstance(vocab, dict):
        wrong = next((text for text, number in vocab.items() if not is_token_id(number)), None)
        if wrong is not None:
            raise _unusable(where, f"the token {_brief(wrong)} has the id {_brief(vocab[wrong])}")
    elif not isinstance(vocab, list):
        raise _unusable(where, f"model.vocab is {_brief(vocab)}, neither an object nor a list")
    return {**definition, "added_tokens": added}


def is_token_id(value: Any) -> bool:
    """Whether it can be a token's id: a whole number that is not negative and has 32 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32


def find_token_id(definition: Mapping[str, Any], text: str) -> int | None:
    """The id of a token, in what ``parse_tokenizer`` returned; None if it is none."""
    for token in definition["added_tokens"]:
        if token["content"] == text:
            return int(token["id"])
    vocab = definition["model"]["vocab"]
    if isinstance(vocab, dict):
        return vocab.get(text)
    # Unigram's: a list of texts and their scores
    return next((i for i, entry in enumerate(vocab) if isinstance(entry, list) and entry[:1] == [text]), None)


def load_tokenizer(data: bytes) -> Tokenizer:
    """The library's tokenizer. Raises CheckpointError for what it does not take."""
    from tokenizers import Tokenizer

    return guarded(lambda: Tokenizer.from_str(data.decode("utf-8")))


def guarded(call: Callable[[], T]) -> T:
    """What ``call`` returns. The library raises plain Exception, and what panics in it is no Exception at all.

    Raises CheckpointError in their place.
    """
    try:
        return call()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise CheckpointError(
            f"tokenizer.json cannot be used: {error or type(error).__name__}", hint=SAVE_AGAIN
        ) from None


def _unusable(where: str, what: str) -> CheckpointError:
    return CheckpointError(f"{where}: {what}", hint=SAVE_AGAIN)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
