"""Every failure is one message, one hint, the right exit status, and in JSON mode one document."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from mlcweb.cli.command import run
from mlcweb.cli.failures import explain
from mlcweb.errors import MlcwebError, ValidationError


class Raising:
    """Stands in for mlcweb.compile: its compile_bundle raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = ModuleType("mlcweb.compile")

        def compile_bundle(request: object, progress: object) -> None:
            raise self.error

        module.CompileRequest = lambda **fields: fields  # type: ignore[attr-defined]
        module.compile_bundle = compile_bundle  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "mlcweb.compile", module)


@pytest.mark.parametrize(
    ("error", "status", "message", "hint"),
    [
        (MlcwebError("it broke", hint="mend it"), 1, "it broke", "mend it"),
        (OSError(errno.ENOSPC, "No space left on device", "dist/x"), 1, "the disk is full: dist/x", "space"),
        (OSError(errno.EACCES, "Permission denied", "dist"), 1, "permission denied: dist", "owns"),
        (MemoryError(), 1, "out of memory", "memory"),
        (KeyboardInterrupt(), 130, "interrupted", ""),
        (ModuleNotFoundError("No module named 'tvm'", name="tvm"), 1, "tvm", "pip install"),
        (RuntimeError("a defect\nsecond line"), 1, "RuntimeError: a defect", "--debug"),
    ],
)
def test_messages(
    error: BaseException,
    status: int,
    message: str,
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Raising(error).install(monkeypatch)
    assert run(["compile", "x"]) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert f"error: {message}" in said.err.replace("Python package missing: ", "")
    assert "Traceback" not in said.err
    assert "second line" not in said.err
    if hint:
        assert hint in said.err.split("hint: ")[1]


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Raising(RuntimeError("a defect")).install(monkeypatch)
    assert run(["compile", "x", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_json_mode_answers_failures_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Raising(MlcwebError("it broke", hint="mend it")).install(monkeypatch)
    assert run(["compile", "x", "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document == {"error": {"code": "error", "message": "it broke", "hint": "mend it"}}


@pytest.mark.parametrize(
    "args",
    [
        ["compile"],
        ["compile", "x", "--context", "0"],
        ["compile", "x", "--nonsense"],
        ["chat", "x", "--temperature", "9"],
        ["completion", "tcsh"],
        ["cmopile"],
        ["--nonsense"],
    ],
)
def test_wrong_usage(
    args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(args) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert "--help" in said.err


def test_wrong_usage_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", "--format=json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_a_mistyped_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cmopile"]) == 2
    assert "did you mean compile?" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["chat", "validate", "serve", "inspect", "bench"])
def test_an_unknown_bundle_names_near_ones(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SmolLM2-135M-Instruct-q4f32_1", "Other-q4f16_1"):
        (tmp_path / "dist" / name).mkdir(parents=True)
        (tmp_path / "dist" / name / "mlcweb.json").write_text("{}")
    assert run([verb, "smollm2-135m-instruct-q4f16_1"]) == 1
    said = capsys.readouterr().err
    assert "no bundle at smollm2-135m-instruct-q4f16_1" in said
    assert "did you mean SmolLM2-135M-Instruct-q4f32_1?" in said


def test_a_folder_that_is_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(tmp_path)]) == 1
    assert "has no mlcweb.json" in capsys.readouterr().err


def test_a_damaged_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mlcweb.json").write_text("{")
    assert run(["inspect", str(tmp_path), "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "bundle"


def test_no_browser(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("MLCWEB_CHROMIUM", raising=False)
    assert run(["doctor", "--format", "json"]) == 1
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["chromium"] is None
    assert document["error"]["code"] == "browser"
    assert "no Chrome or Chromium found" in said.err
    assert "apt-get install chromium" in said.err or sys.platform != "linux"


def test_a_browser_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLCWEB_CHROMIUM", "/nowhere/chrome")
    assert run(["doctor"]) == 1
    assert "$MLCWEB_CHROMIUM names /nowhere/chrome" in capsys.readouterr().err


def test_a_recipe_that_is_wrong_in_validation_keeps_its_code() -> None:
    failure = explain(ValidationError("differs", hint="look"))
    assert (failure.code, failure.exit_code) == ("validation", 1)
    assert explain(click.Abort()).exit_code == 130
