"""Folders of sentence-transformers: what is read of them, and what is refused, by the file's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlcweb.errors import CheckpointError, MlcwebError, UnsupportedError
from mlcweb.sources import open_checkpoint
from mlcweb.sources.sentence_transformers import SentenceDense, is_module_weights, is_small_file
from tests.fixtures.texts.cases import BY_NAME, CONTEXT
from tests.fixtures.texts.checkpoint import make_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "model", BY_NAME["embedding_gemma"])


def test_what_is_read(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    sentence = checkpoint.sentence
    assert sentence is not None
    assert (sentence.pooling, sentence.normalized, sentence.similarity) == ("mean", True, "cosine")
    assert (sentence.max_tokens, sentence.width) == (CONTEXT, 64)
    assert sentence.dense == (
        SentenceDense("2_Dense.linear", 64, 256, False, None),
        SentenceDense("3_Dense.linear", 256, 64, True, "tanh"),
    )
    assert dict(sentence.prompts) == {"query": "query: ", "document": ""}
    assert checkpoint.tensors["3_Dense.linear.bias"].shape == (64,)


def test_a_change_to_a_module_changes_the_fingerprint(folder: Path) -> None:
    before = open_checkpoint(str(folder)).fingerprint
    change(folder, "1_Pooling/config.json", {"word_embedding_dimension": 64, "pooling_mode_cls_token": True})
    assert open_checkpoint(str(folder)).fingerprint != before


def test_newer_names_are_read_too(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    for module in modules:
        module["type"] = f"sentence_transformers.base.modules.{module['type'].rsplit('.', 1)[-1]}"
    change(folder, "modules.json", modules)
    change(folder, "1_Pooling/config.json", {"embedding_dimension": 64, "pooling_mode": "lasttoken"})
    sentence = open_checkpoint(str(folder)).sentence
    assert sentence is not None and sentence.pooling == "last"


def change(folder: Path, file: str, value: Any) -> None:
    (folder / file).write_text(value if isinstance(value, str) else json.dumps(value))


TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}


@pytest.mark.parametrize(
    ("file", "value", "kind", "message"),
    [
        ("modules.json", "{", CheckpointError, "modules.json: cannot be read as JSON"),
        ("modules.json", [], CheckpointError, "holds no list of modules"),
        ("modules.json", [{"path": ""}], CheckpointError, r"\[0\] has no type and path"),
        ("modules.json", [TRANSFORMER], UnsupportedError, "has no Pooling"),
        ("modules.json", [POOLING], UnsupportedError, "has a module Pooling"),
        ("modules.json", [TRANSFORMER, {**POOLING, "path": "../.."}], CheckpointError, "not a folder's name"),
        ("modules.json", [TRANSFORMER, {**POOLING, "type": "x.LSTM"}], UnsupportedError, "has a module LSTM"),
        ("modules.json", [TRANSFORMER, POOLING, POOLING], UnsupportedError, "has a module Pooling"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_max_tokens": True},
            UnsupportedError,
            "pooling_mode_max_tokens",
        ),
        ("1_Pooling/config.json", {}, UnsupportedError, "pools by nothing"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            UnsupportedError,
            "mlcweb has mean, CLS and last token",
        ),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": True, "include_prompt": False},
            UnsupportedError,
            "leaves prompts out",
        ),
        ("2_Dense/config.json", {"in_features": 64}, CheckpointError, "has no in_features and out_features"),
        (
            "2_Dense/config.json",
            {"in_features": 64, "out_features": 256, "activation_function": "torch.nn.Mish"},
            UnsupportedError,
            "the activation 'torch.nn.Mish' is not known",
        ),
        ("2_Dense/model.safetensors", "short", CheckpointError, "not a complete safetensors file"),
        ("sentence_bert_config.json", {"do_lower_case": True}, UnsupportedError, "lower case"),
        ("config_sentence_transformers.json", {"prompts": ["a"]}, CheckpointError, "not texts by name"),
        (
            "config_sentence_transformers.json",
            {"default_prompt_name": "query"},
            CheckpointError,
            "'query' is none of the prompts",
        ),
        (
            "config_sentence_transformers.json",
            {"similarity_fn_name": "jaccard"},
            UnsupportedError,
            "'jaccard' is not known",
        ),
    ],
)
def test_what_is_refused(folder: Path, file: str, value: Any, kind: type[MlcwebError], message: str) -> None:
    change(folder, file, value)
    with pytest.raises(kind, match=message):
        open_checkpoint(str(folder))


def test_which_files_the_hub_is_asked_for() -> None:
    small = ("modules.json", "1_Pooling/config.json", "2_Dense/config.json", "sentence_bert_config.json")
    assert all(map(is_small_file, small))
    assert not any(map(is_small_file, ("onnx/config.json", "1_Pooling/other.json", "1_a/b/config.json")))
    assert is_module_weights("2_Dense/model.safetensors")
    assert not any(
        map(is_module_weights, ("model.safetensors", "onnx/model.safetensors", "2_Dense/config.json"))
    )
