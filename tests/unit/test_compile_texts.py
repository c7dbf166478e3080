"""What a compile decides about models of whole texts, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlcweb.compile.decide import decide
from mlcweb.compile.job import Job
from mlcweb.compile.request import CompileRequest
from mlcweb.compile.texts import filled
from mlcweb.errors import CheckpointError, MlcwebError, UnsupportedError
from mlcweb.progress import SilentProgress
from tests.fixtures.texts.cases import BY_NAME, CONTEXT
from tests.fixtures.texts.checkpoint import make_folder


def decided(folder: Path, name: str, **options: Any) -> Job:
    """The job of a case's folder, which is made unless it is there."""
    if not folder.exists():
        make_folder(folder, BY_NAME[name])
    return decide(CompileRequest(str(folder), **{"quantization": "q0f32", **options}), SilentProgress())


def test_what_is_decided_for_embeddings(tmp_path: Path) -> None:
    job = decided(tmp_path / "gemma", "embedding_gemma", quantization=None)
    assert job.texts is not None and job.texts.embedding is not None
    facts = job.texts.embedding
    assert (facts.dimensions, facts.pooling, facts.normalized) == (64, "mean", True)
    assert facts.prompts == {"query": "query: ", "document": ""}
    assert (job.scheme.name, job.context, job.prompt_tokens) == ("q8f16_1", CONTEXT, ())
    assert job.chunk >= job.context and job.calibration is None
    assert [text.task.kind for text in (job.texts,)] == ["embed"]


def test_a_classifier_is_a_reranker(tmp_path: Path) -> None:
    job = decided(tmp_path / "bert", "bert_score")
    assert job.texts is not None and job.texts.reranking is not None and job.texts.embedding is None
    assert job.texts.reranking.template is None
    assert {document is None for _, document in job.texts.texts()} == {False}


def test_digests_differ_by_what_is_made_of_texts(tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    before = decided(folder, "bert_mean").digest()
    pooling = {"word_embedding_dimension": 64, "pooling_mode_cls_token": True}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    assert decided(folder, "bert_mean").digest() != before


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bert_mean", {"task": "chat"}, "sees a whole text at once and cannot answer"),
        ("embedding_gemma", {"task": "chat"}, "sees a whole text at once and cannot answer"),
        ("bert_mean", {"task": "rerank"}, "no classifier"),
        ("bert_mean", {"task": "summarize"}, "--task summarize is not known"),
        ("qwen3_reranker", {"task": "embed"}, "has no modules.json"),
        ("qwen3_reranker", {"task": "rerank"}, "lacks a token for yes, no"),
        ("bert_mean", {"matrix": True}, "--matrix is for models that answer"),
        ("bert_mean", {"kv_cache_dtype": "float16"}, "--kv-cache-dtype is for models that answer"),
        ("bert_mean", {"scales": "calibrated", "quantization": "q4f32_1"}, "--scales calibrated is for"),
        ("bert_mean", {"context_length": 65}, "--context 65 is longer than the model's 64 tokens"),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        decided(tmp_path / "model", name, **options)


@pytest.mark.parametrize(
    ("name", "file", "change", "kind", "message"),
    [
        ("bert_score", "config.json", {"id2label": {"0": "a", "1": "b"}}, UnsupportedError, "has 2 labels"),
        ("bert_mean", "config.json", {"is_decoder": True}, UnsupportedError, "is_decoder"),
        ("bert_mean", "config.json", {"type_vocab_size": 3}, CheckpointError, "shapes disagree"),
        (
            "bert_mean",
            "1_Pooling/config.json",
            {"word_embedding_dimension": 32},
            CheckpointError,
            "pools rows of 32",
        ),
        ("embedding_gemma", "2_Dense/config.json", {"in_features": 65}, CheckpointError, "takes 65 numbers"),
        (
            "embedding_gemma",
            "2_Dense/config.json",
            {"out_features": 128},
            CheckpointError,
            "takes 256 numbers",
        ),
        ("modernbert", "config.json", {"hidden_activation": "relu"}, UnsupportedError, "hidden_activation"),
    ],
)
def test_files_that_contradict_each_other(
    tmp_path: Path, name: str, file: str, change: dict[str, Any], kind: type[MlcwebError], message: str
) -> None:
    folder = make_folder(tmp_path / "model", BY_NAME[name])
    value = {**json.loads((folder / file).read_text()), **change}
    (folder / file).write_text(json.dumps(value))
    with pytest.raises(kind, match=message):
        decided(folder, name)


def test_a_template_is_filled_once() -> None:
    values = {"query": "{document}", "document": "a {b}"}
    assert filled("<{query}|{document}|{other}>", values) == "<{document}|a {b}|{other}>"
    assert filled("{", values) == "{"
