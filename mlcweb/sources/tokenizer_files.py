"""The files about text that go into a bundle unchanged, and the stop tokens they name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcweb.errors import CheckpointError

TEMPLATE_FILE = "chat_template.jinja"
REQUIRED_FILES = ("tokenizer.json",)
OPTIONAL_FILES = ("tokenizer_config.json", "generation_config.json", "special_tokens_map.json")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises CheckpointError naming the file."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: holds a JSON {type(value).__name__}, not an object")
    return value


def read_tokenizer_files(folder: Path) -> dict[str, bytes]:
    """The tokenizer files of a Hugging Face folder, a separate chat template merged into the config.

    Raises CheckpointError if there is no ``tokenizer.json`` or one of the files is not JSON.
    """
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError(
            f"{folder}: has no tokenizer.json",
            hint="Save one with transformers: AutoTokenizer.from_pretrained(...).save_pretrained(folder).",
        )
    files = {}
    for name in (*REQUIRED_FILES, *OPTIONAL_FILES):
        if (folder / name).is_file():
            read_json(folder / name)
            files[name] = (folder / name).read_bytes()
    files.setdefault("tokenizer_config.json", b"{}")
    template = folder / TEMPLATE_FILE
    if template.is_file():
        merged = json.loads(files["tokenizer_config.json"])
        try:
            merged["chat_template"] = template.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{template}: is not UTF-8: {error}") from error
        files["tokenizer_config.json"] = json.dumps(merged, ensure_ascii=False, indent=2).encode()
    return files


def find_eos_ids(config: Mapping[str, Any], files: Mapping[str, bytes]) -> tuple[int, ...]:
    """Every token id that ends a generation, sorted.

    The union of ``eos_token_id`` in generation_config.json and config.json (a number or a list in either)
    and the id of the tokenizer's ``eos_token``, because published models often name the chat's stop token
    in only one.
    """
    ids: set[int] = set()
    generation = json.loads(files.get("generation_config.json", b"{}"))
    for value in (generation.get("eos_token_id"), config.get("eos_token_id")):
        ids.update(value if isinstance(value, list) else [value] if isinstance(value, int) else [])
    eos = json.loads(files["tokenizer_config.json"]).get("eos_token")
    text = eos.get("content") if isinstance(eos, dict) else eos
    if text:
        token_id = _find_token_id(json.loads(files["tokenizer.json"]), text)
        if token_id is not None:
            ids.add(token_id)
    return tuple(sorted(ids))


def _find_token_id(tokenizer: Mapping[str, Any], text: str) -> int | None:
    for token in tokenizer.get("added_tokens") or []:
        if token["content"] == text:
            return int(token["id"])
    vocab = (tokenizer.get("model") or {}).get("vocab")
    if isinstance(vocab, dict) and text in vocab:
        return int(vocab[text])
    return None
