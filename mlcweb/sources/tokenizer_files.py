"""Collects the files about text that go into a bundle, and the stop tokens they name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcweb.errors import CheckpointError
from mlcweb.sources.added_tokens import ADDED_TOKENS_FILE, complete_tokenizer, merge_special_map
from mlcweb.sources.tokenizer_check import find_token_id, parse_tokenizer

TEMPLATE_FILE = "chat_template.jinja"
# Templates for other uses than the default: NAME.jinja each, of which "tool_use" is taken for tools.
TEMPLATE_FOLDER = "additional_chat_templates"
REQUIRED_FILES = ("tokenizer.json",)
# Tokens that end a turn in the chat templates of published models, some of which name them as eos nowhere.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")
CONFIG_FILE = "tokenizer_config.json"
OPTIONAL_FILES = (CONFIG_FILE, "generation_config.json", "special_tokens_map.json")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises CheckpointError naming the file."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: holds a JSON {type(value).__name__}, not an object")
    return value


def read_tokenizer_files(folder: Path, vocab_size: int | None = None) -> dict[str, bytes]:
    """The tokenizer files of a Hugging Face folder, whose tokenizer.json and tokenizer_config.json say all there is.

    What transformers takes from other files is merged into the two: tokens (``added_tokens``; none past
    ``vocab_size``), the names of special ones, and chat templates. Raises CheckpointError if there is no
    ``tokenizer.json`` or one of the files is of the wrong kind.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: has no tokenizer.json",
            hint="Save one with transformers: AutoTokenizer.from_pretrained(...).save_pretrained(folder).",
        )
    files, contents = {}, {}
    for name in (*OPTIONAL_FILES, ADDED_TOKENS_FILE):
        if (folder / name).is_file():
            contents[name] = read_json(folder / name)
            files[name] = (folder / name).read_bytes()
    files.pop(ADDED_TOKENS_FILE, None)
    read = contents.get(CONFIG_FILE, {})
    config = merge_special_map(read, contents.get("special_tokens_map.json", {}))
    try:
        files["tokenizer.json"] = complete_tokenizer(
            path.read_bytes(),
            config,
            contents.get(ADDED_TOKENS_FILE, {}),
            where=str(path),
            vocab_size=vocab_size,
        )
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    templates = _read_templates(folder)
    if templates:
        if "default" not in templates and isinstance(config.get("chat_template"), str):
            templates["default"] = config["chat_template"]
        config["chat_template"] = [{"name": name, "template": text} for name, text in templates.items()]
        if list(templates) == ["default"]:
            config["chat_template"] = templates["default"]
    if CONFIG_FILE not in files or config != read:
        files[CONFIG_FILE] = json.dumps(config, indent=2).encode()
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
    models often name the chat's stop token in only one. Raises CheckpointError for values of other types.
    """
    generation = json.loads(files.get("generation_config.json", b"{}"))
    ids = {*_stop_ids("generation_config.json", generation), *_stop_ids("config.json", config)}
    tokenizer = parse_tokenizer(files["tokenizer.json"])
    tokenizer_config = json.loads(files[CONFIG_FILE])
    written = json.dumps(tokenizer_config.get("chat_template"), ensure_ascii=False)
    ends = [_eos_text(tokenizer_config), *(end for end in _TURN_ENDS if end in written)]
    end_ids = (find_token_id(tokenizer, text) for text in ends if text)
    return tuple(sorted(ids | {token_id for token_id in end_ids if token_id is not None}))


def _stop_ids(file: str, content: Mapping[str, Any]) -> list[int]:
    value = content.get("eos_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(token, int) and not isinstance(token, bool) for token in ids):
        raise CheckpointError(
            f"{file}: eos_token_id is {value!r:.100}, not a token's id or a list of ids",
            hint="Write whole numbers, or remove the key: the tokenizer's eos_token is a stop token anyway.",
        )
    return ids


def _eos_text(tokenizer_config: Mapping[str, Any]) -> str | None:
    """The tokenizer's ``eos_token``, a text or an object with a ``content``."""
    eos = tokenizer_config.get("eos_token")
    text = eos.get("content") if isinstance(eos, dict) else eos
    if text is None and not isinstance(eos, dict):
        return None
    if not isinstance(text, str):
        raise CheckpointError(
            f"{CONFIG_FILE}: eos_token is {eos!r:.100}, not a token's text",
            hint="Write one token's text; config.json's eos_token_id may list several ids.",
        )
    return text
