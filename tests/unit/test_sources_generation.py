"""generation_config.json: what of it becomes the sampling of requests that do not say, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlcweb.contract.manifest import GenerationDefaults
from mlcweb.errors import CheckpointError
from mlcweb.sources.generation import read_generation
from mlcweb.sources.gguf.file import GgufFile
from mlcweb.sources.gguf.sampling import build_generation_config


def read(**config: Any) -> GenerationDefaults | None:
    return read_generation({"generation_config.json": json.dumps(config).encode()})


def test_sampling_counts_where_the_model_samples() -> None:
    asked = {"temperature": 0.6, "top_p": 0.95, "top_k": 20}
    assert read(do_sample=True, **asked) == GenerationDefaults(temperature=0.6, top_p=0.95, top_k=20)
    for do_sample in (False, None, 1):
        assert read(do_sample=do_sample, **asked) is None
    assert read(**asked) is None


def test_the_penalty_counts_anyway() -> None:
    assert read(repetition_penalty=1.1, top_k=5) == GenerationDefaults(repetition_penalty=1.1)
    assert read(do_sample=False, repetition_penalty=1.1) == GenerationDefaults(repetition_penalty=1.1)


def test_nothing_is_nothing() -> None:
    assert read_generation({}) is None
    assert read() is None
    assert read(do_sample=True, temperature=None) is None
    assert read(do_sample=True, temperature=1.0) == GenerationDefaults(temperature=1)


def test_whole_numbers_have_no_fraction() -> None:
    found = read(do_sample=True, temperature=1.0, top_p=1.0, top_k=50.0, repetition_penalty=1.0)
    assert found is not None
    assert [type(value) for value in vars(found).values()] == [int] * 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "0.7"),
        ("temperature", True),
        ("temperature", 3),
        ("temperature", -1),
        ("temperature", [0.7]),
        ("temperature", float("nan")),
        ("temperature", 10**400),
        ("top_p", 1.5),
        ("top_k", 0.5),
        ("top_k", -1),
        ("repetition_penalty", 0),
        ("repetition_penalty", float("inf")),
    ],
)
def test_what_no_request_may_have_is_refused(name: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=f"generation_config.json: {name} is "):
        read(do_sample=True, **{name: value})


def test_a_gguf_files_keys() -> None:
    keys = {"temp": 0.6000000238418579, "top_p": 0.949999988079071, "top_k": 20, "penalty_repeat": 1.0}
    metadata = {f"general.sampling.{key}": value for key, value in keys.items()}
    files = build_generation_config(GgufFile(Path("x.gguf"), metadata, {}))
    expected = GenerationDefaults(temperature=0.6, top_p=0.95, top_k=20, repetition_penalty=1)
    assert read_generation(files) == expected
    assert build_generation_config(GgufFile(Path("x.gguf"), {}, {})) == {}
    with pytest.raises(CheckpointError, match=r"general\.sampling\.temp"):
        build_generation_config(GgufFile(Path("x.gguf"), {"general.sampling.temp": "hot"}, {}))
