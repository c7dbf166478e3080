"""The files about text that go into a bundle unchanged, and the stop tokens they name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcweb.errors import CheckpointError

TEMPLATE_FILE = "chat_template.jinja"
# Templates for other uses than the default: NAME.jinja each, of which "tool_use" is taken for tools.
TEMPLATE_FOLDER = "additional_chat_templates"
REQUIRED_FILES = ("tokenizer.json",)
# Tokens that end a turn in the chat templates of published models, some of which name them as eos nowhere.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")
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
    """The tokenizer files of a Hugging Face folder, separate chat templates merged into the config.

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
    templates = _read_templates(folder)
    if templates:
        merged = json.loads(files["tokenizer_config.json"])
        if "default" not in templates and isinstance(merged.get("chat_template"), str):
            templates["default"] = merged["chat_template"]
        merged["chat_template"] = [{"name": name, "template": text} for name, text in templates.items()]
        if list(templates) == ["default"]:
            merged["chat_template"] = templates["default"]
        files["tokenizer_config.json"] = json.dumps(merged, ensure_ascii=False, indent=2).encode()
    return files


def _read_templates(folder: Path) -> dict[str, str]:
    """The chat templates that have files of their own, by name."""
    paths = {"default": folder / TEMPLATE_FILE}
    paths |= {path.stem: path for path in sorted((folder / TEMPLATE_FOLDER).glob("*.jinja"))}
    templates = {}
    for name, path in paths.items():
        try:
            if path.is_file():
                templates[name] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path}: is not UTF-8: {error}") from error
    return templates


def find_eos_ids(config: Mapping[str, Any], files: Mapping[str, bytes]) -> tuple[int, ...]:
    """Every token id that ends a generation, sorted.

    The union of ``eos_token_id`` in generation_config.json and config.json (a number or a list in either)
    and the ids of the tokenizer's ``eos_token`` and of what its chat template ends turns with, because published
    models often name the chat's stop token in only one.
    """
    ids: set[int] = set()
    generation = json.loads(files.get("generation_config.json", b"{}"))
    for value in (generation.get("eos_token_id"), config.get("eos_token_id")):
        ids.update(value if isinstance(value, list) else [value] if isinstance(value, int) else [])
    tokenizer, tokenizer_config = (
        json.loads(files[name]) for name in ("tokenizer.json", "tokenizer_config.json")
    )
    eos = tokenizer_config.get("eos_token")
    written = json.dumps(tokenizer_config.get("chat_template"), ensure_ascii=False)
    ends = [
        eos.get("content") if isinstance(eos, dict) else eos,
        *(end for end in _TURN_ENDS if end in written),
    ]
    found = (_find_token_id(tokenizer, text) for text in ends if text)
    return tuple(sorted(ids | {token_id for token_id in found if token_id is not None}))


def _find_token_id(tokenizer: Mapping[str, Any], text: str) -> int | None:
    for token in tokenizer.get("added_tokens") or []:
        if token["content"] == text:
            return int(token["id"])
    vocab = (tokenizer.get("model") or {}).get("vocab")
    if isinstance(vocab, dict) and text in vocab:
        return int(vocab[text])
    return None
