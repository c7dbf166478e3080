"""models.toml: which bundles a list means, and what is refused with its field."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcweb.build import read_models
from mlcweb.errors import BuildError


def written(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text)
    return path


def test_models_times_quantizations_times_adapters(tmp_path: Path) -> None:
    (tmp_path / "lora").mkdir()
    path = written(
        tmp_path,
        """
        quantizations = ["q4f16_1", "q4f32_1"]
        [[models]]
        source = "Llama-3.2-1B"
        adapters = ["lora", "org/other"]
        [[models]]
        source = "org/Mine"
        name = "Ours"
        quantizations = ["q0f32"]
        adapters = ["org/other"]
        base = false
        [[models]]
        source = "org/name-GGUF:Q4_K_M"
        """,
    )
    tasks = read_models(path).tasks
    assert [task.label for task in tasks] == [
        "Llama-3.2-1B-q4f16_1",
        "Llama-3.2-1B-q4f32_1",
        "Llama-3.2-1B-lora-q4f16_1",
        "Llama-3.2-1B-lora-q4f32_1",
        "Llama-3.2-1B-other-q4f16_1",
        "Llama-3.2-1B-other-q4f32_1",
        "Ours-other-q0f32",
        "name-GGUF:Q4_K_M-q4f16_1",
        "name-GGUF:Q4_K_M-q4f32_1",
    ]
    assert tasks[2].request.adapter == str(tmp_path / "lora") and tasks[4].request.adapter == "org/other"
    assert (tasks[6].stem, tasks[6].request.source, tasks[0].stem) == ("Ours", "org/Mine", None)


def test_without_quantizations_the_compiler_chooses(tmp_path: Path) -> None:
    (task,) = read_models(written(tmp_path, '[[models]]\nsource = "gpt2"')).tasks
    assert task.label == "gpt2" and task.request.quantization is None


def test_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "my-llama").mkdir()
    monkeypatch.chdir("/")
    text = 'out = "../made"\ntarget = "../www"\n[[models]]\nsource = "../my-llama"\ncalibrate = "said.txt"\n'
    read = read_models(written(tmp_path / "lists", text))
    (task,) = read.tasks
    assert Path(task.request.source).resolve() == tmp_path / "my-llama"
    assert task.request.calibrate == tmp_path / "lists" / "said.txt"
    assert read.out.resolve() == tmp_path / "made"
    assert read.publishing and Path(read.publishing.target).resolve() == tmp_path / "www"


def test_a_store_is_no_path(tmp_path: Path) -> None:
    text = 'target = "s3://models/web"\nendpoint_url = "http://x"\n[[models]]\nsource = "gpt2"\n'
    publishing = read_models(written(tmp_path, text)).publishing
    assert publishing and (publishing.target, publishing.endpoint_url) == ("s3://models/web", "http://x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lacks the field models"),
        ("models = []", "lists no models"),
        ("[[models]]\nsource = 3", "models[0].source is 3, expected a str"),
        ('[[models]]\nsource = "a"\nquantisations = ["q0f32"]', "unknown field models[0].quantisations"),
        ('[[models]]\nsource = "a"\nquantizations = "q0f32"', "quantizations is 'q0f32', expected a list"),
        ('[[models]]\nsource = "a"\ntiers = [1]', "models[0].tiers has 1, expected strings"),
        ('[[models]]\nsource = "a"\nbase = false', "models[0].base is false, and there are no adapters"),
        ('[[models]]\nsource = "a"\n[[models]]\nsource = "a"', "lists a more than once"),
        ('public_url = "https://x"\n[[models]]\nsource = "a"', "belong to a target"),
        ("models = [1]", "models[0] is 1, expected a table"),
        ("models = {", "cannot be read as TOML"),
    ],
)
def test_refusals_name_the_field(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BuildError) as caught:
        read_models(written(tmp_path, text))
    assert said in caught.value.message and "models.toml" in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"none\.toml"):
        read_models(tmp_path / "none.toml")
