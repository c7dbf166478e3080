"""Data on stdout, the rest on stderr, plain where no terminal is."""

from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from mlcweb.bundle import Quality
from mlcweb.cli.command import run
from mlcweb.cli.stage_lines import StageLines
from mlcweb.numbers import rate, seconds, size
from mlcweb.progress import Progress


@pytest.fixture
def fake_compile(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A compile that takes no time; the request it got."""
    got: dict[str, object] = {}
    module = ModuleType("mlcweb.compile")

    def compile_bundle(request: dict[str, object], progress: Progress) -> SimpleNamespace:
        got.update(request)
        progress.start("quantize", 3_000_000, "bytes")
        progress.advance(1_000_000)
        progress.advance(2_000_000)
        progress.note("embedding is tied")
        progress.start("write")
        return SimpleNamespace(
            path=Path("dist/Tiny-q4f32_1"),
            name="Tiny-q4f32_1",
            bytes=76_000_000,
            seconds=12.34,
            peak_memory_bytes=900_000_000,
            stages={"quantize": 12.0},
            reused=False,
            quality=Quality(255, 133, 624_000, 3_430_000, 80_700, 44_500),
            warning="warning: too far",
            task="chat",
        )

    module.CompileRequest = lambda **fields: fields  # type: ignore[attr-defined]
    module.compile_bundle = compile_bundle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlcweb.compile", module)
    return got


@pytest.mark.parametrize("folder", ["dist/my model", "it's", '"$HOME"', "-out", "dist/plain"])
def test_the_next_command_can_be_pasted(
    folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("mlcweb.compile")
    facts = {"bytes": 1, "seconds": 1.0, "peak_memory_bytes": 1, "stages": {}, "reused": False}
    facts |= {"quality": None, "warning": None, "task": "chat"}
    result = SimpleNamespace(path=Path(folder), name="x", **facts)
    module.CompileRequest = lambda **fields: fields  # type: ignore[attr-defined]
    module.compile_bundle = lambda request, progress: result  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlcweb.compile", module)
    assert run(["compile", "Tiny"]) == 0
    command = capsys.readouterr().err.splitlines()[-1].removeprefix("next: ")
    program, verb, bundle, prompt = shlex.split(command)
    assert (program, verb, Path(bundle), prompt) == ("mlcweb", "chat", Path(folder), "Hello")
    assert not bundle.startswith("-")


def test_compile_prints_the_path_and_one_line_per_stage(
    fake_compile: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compile", "Tiny", "--quant", "q4f32_1", "--tier", "base", "--tier", "subgroups"]) == 0
    said = capsys.readouterr()
    assert said.out == "dist/Tiny-q4f32_1\n"
    lines = said.err.splitlines()
    assert lines[0] == "embedding is tied"
    assert lines[1].startswith("quantize: 3.0 MB in 0.0")
    assert lines[2].startswith("write: 0.0")
    assert "76.0 MB in 12.3 s, peak memory 900.0 MB" in lines[3]
    assert lines[4] == (
        "52.2 % of the source's most likely tokens, KL 0.624 nats a token (99 %: 3.43), "
        "perplexity 80.7 (source 44.5), on 255 tokens"
    )
    assert lines[5] == "warning: too far"
    assert "\x1b" not in said.err
    assert fake_compile["evaluate"] is True
    assert fake_compile["tiers"] == ("base", "subgroups")
    assert fake_compile["quantization"] == "q4f32_1"
    assert fake_compile["source_kind"] == "auto"


def test_compile_in_json(fake_compile: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", "Tiny", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == "dist/Tiny-q4f32_1"
    assert document["stages"] == {"quantize": 12.0}
    assert document["reused"] is False
    assert (document["quality"]["same_tokens"], document["warning"]) == (133, "warning: too far")
    assert run(["compile", "Tiny", "--no-eval"]) == 0
    assert fake_compile["evaluate"] is False


def test_list_in_json_and_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--format", "json"]) == 0
    recipes = json.loads(capsys.readouterr().out)["recipes"]
    assert "SmolLM2-135M" in [recipe["name"] for recipe in recipes]
    assert run(["list"]) == 0
    assert "SmolLM2-135M" in capsys.readouterr().out


def test_a_stage_that_failed_does_not_claim_to_have_ended() -> None:
    lines: list[str] = []
    with pytest.raises(RuntimeError), StageLines(lines.append) as progress:
        progress.start("quantize", 10, "bytes")
        progress.advance(5)
        raise RuntimeError
    assert lines == []


SHOW_ON_TERMINAL = """
from mlcweb.cli.output import Output
output = Output()
with output.progress() as progress:
    progress.start("quantize", 3_000_000, "bytes")
    progress.advance(3_000_000)
    progress.start("lower", 30)
    progress.advance(30)
    progress.note("[a note]")
output.fail("x", "it broke", "mend it")
"""


def on_terminal(**environment: str) -> str:
    """What a terminal of 100 columns gets on stderr."""
    ours, theirs = pty.openpty()
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    env |= {"TERM": "xterm-256color", "COLUMNS": "100", **environment}
    done = subprocess.Popen([sys.executable, "-c", SHOW_ON_TERMINAL], stdin=theirs, stderr=theirs, env=env)
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    assert done.wait() == 0
    return said.decode()


def test_bars_on_a_terminal() -> None:
    said = on_terminal()
    assert "3.0 MB of 3.0 MB" in said
    assert "30 of 30" in said
    assert "[a note]" in said
    assert "\x1b[31m\x1b[1merror:" in said


def test_no_color() -> None:
    said = on_terminal(NO_COLOR="1")
    assert "error: it broke" in said
    assert "\x1b[31m" not in said
    assert "\x1b[38;5" not in said


def test_a_dumb_terminal_gets_plain_lines() -> None:
    said = on_terminal(TERM="dumb")
    assert "\x1b" not in said
    assert "quantize: 3.0 MB in" in said


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes(count: int, shown: str) -> None:
    assert size(count) == shown


def test_durations_and_rates() -> None:
    assert [seconds(s) for s in (0.4, 12.34, 125)] == ["0.40 s", "12.3 s", "2 min 05 s"]
    assert [rate(r) for r in (None, 0.0, 2.94, 1003.4)] == ["-", "-", "2.9 tok/s", "1,003 tok/s"]
