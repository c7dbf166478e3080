"""Tokens and stop tokens of a folder: as transformers takes them, whichever file names them, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlcweb.errors import CheckpointError
from mlcweb.reference.prompt import PromptRenderer
from mlcweb.sources import open_checkpoint
from mlcweb.sources.tokenizer_check import load_tokenizer
from mlcweb.sources.tokenizer_files import read_tokenizer_files
from tests.fixtures.text.make_added import CASES, FILE, token, write_case
from tests.support.tiny import TinyLlama, make_llama

EXPECTED = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CASES)
def test_ids_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    expected = EXPECTED["cases"][name]
    files = read_tokenizer_files(write_case(tmp_path, CASES[name]))
    assert json.loads(files["tokenizer.json"]) == {**expected["completed"], "model": EXPECTED["model"]}
    assert PromptRenderer(files).tokens("What is the capital of France?") == expected["chat"]
    tokenizer = load_tokenizer(files["tokenizer.json"])
    for case in expected["encoded"]:
        assert tokenizer.encode(case["text"], add_special_tokens=False).ids == case["ids"]


def test_a_tokenizer_that_says_all_is_kept_byte_for_byte(tmp_path: Path) -> None:
    folder = write_case(tmp_path, {})
    assert read_tokenizer_files(folder)["tokenizer.json"] == (folder / "tokenizer.json").read_bytes()


def test_a_token_without_an_embedding_is_not_added(tmp_path: Path) -> None:
    """Its id would be read past the end of the embedding."""
    folder = make_llama(tmp_path, TinyLlama(vocab=274))
    edit(folder / "tokenizer_config.json", pad_token="[PAD]", mask_token="[MASK]")
    added = json.loads(open_checkpoint(str(folder)).tokenizer_files["tokenizer.json"])["added_tokens"]
    assert [(entry["id"], entry["content"]) for entry in added[3:]] == [(273, "[PAD]")]


def test_the_names_of_an_old_special_tokens_map_reach_the_template(tmp_path: Path) -> None:
    case = {"special_tokens_map.json": {"bos_token": token("<s>")}}
    folder = write_case(tmp_path, {**case, "tokenizer_config.json": {"chat_template": "{{ bos_token }}x"}})
    assert PromptRenderer(read_tokenizer_files(folder)).template.render([]) == "<s>x"


def test_an_old_added_tokens_json_needs_no_tokenizer_config(tmp_path: Path) -> None:
    folder = write_case(tmp_path, {"added_tokens.json": {"<tool>": 273}})
    (folder / "tokenizer_config.json").unlink()
    files = read_tokenizer_files(folder)
    assert load_tokenizer(files["tokenizer.json"]).encode("<tool>").ids == [273]
    assert json.loads(files["tokenizer_config.json"]) == {}


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("tokenizer.json", {"added_tokens": 7}, "added_tokens is a int"),
        ("tokenizer.json", {"added_tokens": {"a": 1}}, "added_tokens is a dict"),
        ("tokenizer.json", {"added_tokens": ["<s>"]}, "added_tokens[0] is '<s>'"),
        ("tokenizer.json", {"added_tokens": [{"content": "<s>"}]}, "added_tokens[0] has the id None"),
        ("tokenizer.json", {"added_tokens": [{"id": True, "content": "x"}]}, "has the id True"),
        ("tokenizer.json", {"added_tokens": [{"id": -1, "content": "x"}]}, "has the id -1"),
        ("tokenizer.json", {"added_tokens": [{"id": 1 << 40, "content": "x"}]}, "has the id 1099511627776"),
        ("tokenizer.json", {"added_tokens": [{"id": 1}]}, "has the content None"),
        ("tokenizer.json", {"model": None}, "model is None"),
        ("tokenizer.json", {"model": {"type": "BPE"}}, "model.vocab is None"),
        ("tokenizer.json", {"model": {"vocab": {"a": "0"}}}, "the token 'a' has the id '0'"),
        ("tokenizer_config.json", {"added_tokens_decoder": []}, "added_tokens_decoder is []"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {}}}, "no token at 'x'"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"3": "x"}}, "no token at '3'"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"3": {"content": 1}}}, "which is no token"),
        ("tokenizer_config.json", {"eos_token": ["<|im_end|>"]}, "eos_token is ['<|im_end|>']"),
        ("tokenizer_config.json", {"eos_token": 2}, "eos_token is 2"),
        ("tokenizer_config.json", {"eos_token": {"content": [1]}}, "eos_token is {'content': [1]}"),
        ("added_tokens.json", {"<tool>": "3"}, "'<tool>' has the id '3'"),
        ("config.json", {"eos_token_id": [2, None]}, "eos_token_id is [2, None]"),
        ("config.json", {"eos_token_id": ["2"]}, "eos_token_id is ['2']"),
        ("config.json", {"eos_token_id": "2"}, "eos_token_id is '2'"),
        ("config.json", {"eos_token_id": [[2]]}, "eos_token_id is [[2]]"),
        ("config.json", {"eos_token_id": {"a": 2}}, "eos_token_id is {'a': 2}"),
        ("generation_config.json", {"eos_token_id": True}, "eos_token_id is True"),
        ("generation_config.json", {"eos_token_id": 2.0}, "eos_token_id is 2.0"),
    ],
)
def test_wrong_types_name_file_and_key(file: str, changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    if file == "tokenizer.json" or not (folder / file).exists():
        path = folder / file
        path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changes))
    else:
        edit(folder / file, **changes)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(str(folder))
    assert said in caught.value.message and file in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_json_that_is_nested_too_deeply(file: str, tmp_path: Path) -> None:
    (make_llama(tmp_path) / file).write_text('{"a":' * 200_000)
    with pytest.raises(CheckpointError, match=file):
        open_checkpoint(str(tmp_path))


def test_a_template_with_half_a_surrogate_pair_is_merged(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    edit(folder / "tokenizer_config.json", note="\ud800")
    (folder / "chat_template.jinja").write_text("{{ 'x' }}")
    assert b"\\ud800" in open_checkpoint(str(folder)).tokenizer_files["tokenizer_config.json"]


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
