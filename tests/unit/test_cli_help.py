"""Help imports nothing heavy, is complete, and the same as docs/cli.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlcweb.cli.command import VERBS, run
from mlcweb.cli.reference import render
from mlcweb.footprint import footprints
from mlcweb.kernel_cache import KernelCache
from mlcweb.quantize import get_scheme
from mlcweb.recipes import find_recipe
from tests.support.bundle_sample import make_bundle

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
HEAVY = {
    "tvm",
    "huggingface_hub",
    "numpy",
    "playwright",
    "rich",
    "gguf",
    "safetensors",
    "tokenizers",
    "http.server",
}


def imported_by(*args: str) -> set[str]:
    code = (
        "import sys; from mlcweb.cli import main; code = main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_imports_nothing_heavy() -> None:
    assert not imported_by("--help") & HEAVY


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_help_imports_nothing_heavy_nor_another_verb(verb: str) -> None:
    modules = imported_by(verb, "--help")
    assert not modules & HEAVY
    verbs = {name.rsplit(".", 1)[1] for name in modules if name.startswith("mlcweb.cli.verbs.")}
    assert verbs == {verb.replace("-", "_")}


def test_schemes_are_named_without_numpy_or_tvm() -> None:
    code = "import sys, mlcweb.quantize.schemes; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & HEAVY


def test_inspect_loads_no_tvm(tmp_path: Path) -> None:
    make_bundle(tmp_path / "b")
    assert "tvm" not in imported_by("inspect", str(tmp_path / "b"))


@pytest.mark.slow
def test_list_loads_tvm_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To declare models, whose sizes it keeps; they are as right the second time."""
    monkeypatch.setenv("MLCWEB_KERNEL_CACHE", str(tmp_path))
    assert "tvm" in imported_by("list", "smollm2")
    assert "tvm" not in imported_by("list", "smollm2")
    assert "tvm" in imported_by("list", "smollm2", "--quant", "q0f16")
    first, second = (
        footprints(find_recipe("SmolLM2-135M").config, [get_scheme("q4f16_1")], 64, cache=cache)
        for cache in (None, KernelCache(tmp_path))
    )
    again = footprints(
        find_recipe("SmolLM2-135M").config, [get_scheme("q4f16_1")], 64, cache=KernelCache(tmp_path)
    )
    assert first == second == again


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example:" in shown
    assert f"mlcweb {verb}" in shown


def test_docs_are_current() -> None:
    """Compared without line breaks, where versions of click differ."""
    assert DOCS.read_text().split() == render().split(), "run `make docs`"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_MLCWEB_COMPLETE" in capsys.readouterr().out
