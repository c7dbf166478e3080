"""The text model of a checkpoint that wraps it: the names that its tensors come under, and configs that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.sources import open_checkpoint
from tests.fixtures.models.cases import BY_NAME
from tests.fixtures.models.checkpoint import Tensors, make_checkpoint, text_weights, weights

GEMMA, MISTRAL, QWEN3, QWEN25 = (
    BY_NAME[name] for name in ("gemma-3-4b", "mistral-small-3.1", "qwen3-vl-2b", "qwen2.5-vl-3b")
)


def test_names_as_transformers_has_them_are_read_too(tmp_path: Path) -> None:
    tensors: Tensors = {}
    for name, tensor in weights(MISTRAL).items():
        for old, new in (
            ("language_model.model.", "model.language_model."),
            ("language_model.lm_head.", "lm_head."),
            ("vision_tower.", "model.vision_tower."),
            ("multi_modal_projector.", "model.multi_modal_projector."),
        ):
            if name.startswith(old):
                tensors[new + name.removeprefix(old)] = tensor
    checkpoint = open_checkpoint(str(make_checkpoint(tmp_path, MISTRAL, tensors)), images=False)
    expected = text_weights(MISTRAL)
    assert set(checkpoint.tensors) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(checkpoint.tensors[name].read(), tensor)


def test_the_wrappers_end_tokens_are_the_text_models(tmp_path: Path) -> None:
    assert {1, 106} <= set(open_checkpoint(str(make_checkpoint(tmp_path, GEMMA)), images=False).eos_token_ids)


@pytest.mark.parametrize(("outer", "inner"), [(True, False), (False, True), (None, None)])
def test_a_head_says_whether_there_is_one_where_the_config_does_not(
    outer: bool | None, inner: bool | None, tmp_path: Path
) -> None:
    for case, tied in ((MISTRAL, False), (QWEN3, True)):
        folder = make_checkpoint(tmp_path / case.name, case)
        config = json.loads((folder / "config.json").read_text())
        for place, value in ((config, outer), (config["text_config"], inner)):
            place.pop("tie_word_embeddings")
            if value is not None:
                place["tie_word_embeddings"] = value
        (folder / "config.json").write_text(json.dumps(config))
        assert open_checkpoint(str(folder), images=False).config["tie_word_embeddings"] is tied


def changed(case: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """The case's config.json; ``a.b`` is b in a, and ... takes a key away."""
    config = json.loads(json.dumps(case.config))
    for path, value in changes.items():
        *outer, key = path.split(".")
        place = config[outer[0]] if outer else config
        if value is ...:
            del place[key]
        else:
            place[key] = value
    return dict(config)


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    [
        (GEMMA, {"text_config": ...}, "needs a text_config, and has none"),
        (GEMMA, {"text_config": ["gemma3_text"]}, "needs a text_config, and it is no object"),
        (QWEN25, {"vision_config": ...}, "needs a vision_config, and has none"),
        (MISTRAL, {"vision_config": None}, "needs a vision_config, and has none"),
        (QWEN3, {"vision_config.out_hidden_size": 128}, "out_hidden_size is 128, .* hidden_size 96"),
        (QWEN25, {"hidden_size": 64}, "out_hidden_size is 128, .* hidden_size 64"),
        (GEMMA, {"image_token_index": 208}, "image_token_index is 208, .* 208 tokens"),
        (QWEN3, {"image_token_id": -1}, "image_token_id is -1"),
    ],
    ids=str,
)
def test_a_config_that_contradicts_itself(
    case: Any, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = make_checkpoint(tmp_path, case)
    (folder / "config.json").write_text(json.dumps(changed(case, changes)))
    with pytest.raises(CheckpointError, match=message) as raised:
        open_checkpoint(str(folder), images=False)
    assert "config.json" in raised.value.message and raised.value.hint


@pytest.mark.parametrize("kind", ["llama", "gemma3", 3, ["gemma3_text"]])
def test_another_text_model(kind: Any, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, GEMMA)
    (folder / "config.json").write_text(json.dumps(changed(GEMMA, {"text_config.model_type": kind})))
    with pytest.raises(UnsupportedError, match=r"text model .* is not supported; known: gemma3_text"):
        open_checkpoint(str(folder), images=False)


@pytest.mark.parametrize("case", [GEMMA, MISTRAL, QWEN3, QWEN25], ids=lambda case: case.name)
def test_a_missing_tower(case: Any, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, case, text_weights(case))
    with pytest.raises(CheckpointError, match="holds no tensor of its tower"):
        open_checkpoint(str(folder), images=False)


def test_two_tensors_of_one_name(tmp_path: Path) -> None:
    tensors = weights(MISTRAL)
    tensors["model.norm.weight"] = tensors["language_model.model.norm.weight"]
    with pytest.raises(CheckpointError, match=r"holds model\.norm\.weight twice"):
        open_checkpoint(str(make_checkpoint(tmp_path, MISTRAL, tensors)), images=False)
