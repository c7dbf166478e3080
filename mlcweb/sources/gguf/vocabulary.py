"""Reads a GGUF file's tokens, their types, and which of them are special: ``tokenizer.ggml.*`` of its metadata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlcweb.errors import CheckpointError
from mlcweb.sources.gguf.file import GgufFile
from mlcweb.sources.gguf.reader import describe

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # llama.cpp's llama_token_type
_ADDED = (CONTROL, USER_DEFINED)  # converters give some models' special tokens the second type

# llama.cpp ends a generation at these control tokens too, whatever eos_token_id says: chat models end a turn
# with one token and a document with another, and GGUF has room for one.
STOP_TEXTS = (
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<end_of_turn>",
)
STOP_NAMES = ("eos", "eot", "eom")
_SPECIAL_NAMES = ("bos", "unknown", "padding", *STOP_NAMES)
# Splitting a token into two costs the square of its length. The longest of published ones have some 200 characters.
_LONGEST_TOKEN = 2048


@dataclass(frozen=True)
class Vocabulary:
    """``tokens`` by id and their ``types``; ``ids`` is the inverse.

    ``special`` has the ids that the metadata gives ``bos``, ``eos``, ``padding`` and so on, as far as they are
    tokens of the model; ``ignored`` says of each other one what it is.
    """

    tokens: list[str]
    types: list[int]
    ids: dict[str, int]
    special: dict[str, int]
    ignored: dict[str, str]

    def find_stop_ids(self) -> tuple[int, ...]:
        """Every token id that ends a generation: eos first, then the others sorted."""
        named = [self.special[name] for name in STOP_NAMES if name in self.special]
        others = {self.ids[text] for text in STOP_TEXTS if text in self.ids}
        others = {i for i in others if self.types[i] in _ADDED}
        return tuple(dict.fromkeys([*named[:1], *sorted(others.union(named[1:]))]))


def read_vocabulary(file: GgufFile, note: Callable[[str], None] | None = None) -> Vocabulary:
    """The vocabulary. ``note`` is told of each special id that is no token, which llama.cpp ignores too.

    Raises CheckpointError if tokens or types are missing, of the wrong kind, or disagree.
    """
    tokens: list[str] = read_list(file, "tokens", str)
    types = [NORMAL] * len(tokens)
    if file.metadata.get("tokenizer.ggml.token_type"):
        types = read_list(file, "token_type", int)
    if len(types) != len(tokens):
        raise CheckpointError(f"{file.path}: {len(tokens)} tokens, but {len(types)} token types")
    ids = {text: i for i, text in enumerate(tokens)}
    if len(ids) != len(tokens):
        raise CheckpointError(f"{file.path}: tokenizer.ggml.tokens repeats a token")
    longest = max(map(len, tokens), default=0)
    if longest > _LONGEST_TOKEN:
        raise CheckpointError(
            f"{file.path}: tokenizer.ggml.tokens has a token of {longest} characters, which no tokenizer has"
        )
    # a token without a row in the embedding can be neither read nor said
    embedding = file.tensors.get("token_embd.weight")
    count = min(len(tokens), embedding.shape[0]) if embedding else len(tokens)
    special, ignored = {}, {}
    for name in _SPECIAL_NAMES:
        key = f"tokenizer.ggml.{name}_token_id"
        value = file.metadata.get(key)
        if type(value) is int and 0 <= value < count:
            special[name] = value
        elif value is not None:
            ignored[name] = f"{key} is {describe(value)}, none of the {count} tokens"
            if note is not None:
                note(f"{file.path.name}: {ignored[name]}; it is ignored")
    return Vocabulary(tokens, types, ids, special, ignored)


def read_list(file: GgufFile, name: str, kind: type | tuple[type, ...]) -> list[Any]:
    """``tokenizer.ggml.NAME``, whose elements are all of one type in GGUF. Raises CheckpointError."""
    key = f"tokenizer.ggml.{name}"
    values: list[Any] = file.require(key, list)
    if values and (not isinstance(values[0], kind) or isinstance(values[0], bool)):
        raise CheckpointError(f"{file.path}: {key} has {describe(values[0])} in it, of the wrong type")
    return values
