"""``MLCWEB_DEBUG``: what each level logs, where it goes, and that it is whole."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcweb.bundle import open_bundle
from mlcweb.cli.command import run
from mlcweb.compile import CompileRequest, compile_bundle, lower
from mlcweb.debug import CODE, KERNEL, VARIABLE, log_to_stderr, logged_stage, logger
from tests.support.tiny import TinyLlama, make_llama

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TIERS = ("subgroups", "base", "software")
COMPILE = """
import sys
from mlcweb.cli.command import run
from mlcweb.compile import lower

lower._cpus = lambda: 2
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def quiet_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    monkeypatch.delenv(VARIABLE, raising=False)
    log_to_stderr()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "small", TinyLlama(layers=1))


def compiled(model: Path, out: Path, level: int | None, *, cache: str = "") -> tuple[str, list[str]]:
    """stdout, and stderr's log lines, of a compile in a process of its own, which forks two to lower."""
    tiers = [part for tier in TIERS for part in ("--tier", tier)]
    options = ["--quant", "q4f32_1", "--scales", "mlc", "--no-eval", "--out", str(out), *tiers]
    command = [sys.executable, "-c", COMPILE, "compile", str(model), *options]
    env = {**os.environ, "MLCWEB_KERNEL_CACHE": cache, VARIABLE: "" if level is None else str(level)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


def logged(lines: list[str]) -> list[tuple[str, str]]:
    """Each log line's logger and message."""
    matches = [re.fullmatch(r" *\d+\.\d{3} (mlcweb[\w.]*): (.*)", line) for line in lines]
    return [(match[1], match[2]) for match in matches if match]


def test_each_level_adds_to_the_one_before(model: Path, tmp_path: Path) -> None:
    said = {level: compiled(model, tmp_path / f"out{level}", level) for level in (None, 1, 3, 4)}
    bundles = [{p.name: p.read_bytes() for p in (tmp_path / f"out{level}").iterdir()} for level in said]
    assert all(bundle == bundles[0] for bundle in bundles), "what is logged changes no byte"
    for level, (out, _) in said.items():
        assert out == f"{tmp_path / f'out{level}'}\n", "nothing but the answer"
    assert logged(said[None][1]) == []

    stages = logged(said[1][1])
    assert [message.split(":")[0] for _, message in stages] == [
        "open",
        "lower",
        "quantize",
        "reference",
        "finish",
    ]
    assert all(re.fullmatch(r"\w+: \d+\.\d{3} s", message) for _, message in stages)

    third = logged(said[3][1])
    bundle = open_bundle(tmp_path / "out3")
    for tier in TIERS:
        choices = [
            message
            for name, message in third
            if name == "mlcweb.kernels.choose" and f"tier {tier}:" in message
        ]
        package = "software" if tier == "software" else "products"
        assert choices and all(f": {package}.mat" in message for message in choices)
        assert ("mlcweb.compile.lower", f"tier {tier}: was lowered in a process of its own") in third
        lowered = [m for name, m in third if name == "mlcweb.lower.wgsl" and m.startswith(f"tier {tier}: ")]
        kernels = bundle.kernels(tier)
        assert {message.split(": ")[1] for message in lowered} == set(kernels)
        for message in lowered:
            assert re.search(r": \d+\.\d ms, \d+ bytes of WGSL, workgroup of \d+, grid ", message), message

    fourth = "\n".join(said[4][1])
    for tier in TIERS:
        for name, source in bundle.kernels(tier).items():
            assert f"tier {tier}: kernel {name}\n{source.partition(chr(10))[2].rstrip()}" in fourth
        plan = bundle.plan(tier)
        for entry, facts in plan["entries"].items():
            for i, launch in enumerate(facts["launches"]):
                assert f"tier {tier}: {entry} {i}: {plan['kernels'][launch['kernel']]['name']}(" in fourth


def test_the_kernel_cache_is_named(model: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "kernels")
    first = logged(compiled(model, tmp_path / "out", 2, cache=cache)[1])
    assert any(message.endswith("lowered, not in the kernel cache") for _, message in first)
    (tmp_path / "out" / "mlcweb.json").unlink()
    second = logged(compiled(model, tmp_path / "again", 4, cache=cache)[1])
    kept = [message for _, message in second if "kept in the kernel cache" in message]
    assert [message.split(":")[0] for message in kept] == [f"tier {tier}" for tier in TIERS]
    assert any("kernel decode_qkv" in message for _, message in second), (
        "code is shown wherever it comes from"
    )


def test_a_long_record_of_a_process_arrives_whole(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two processes that write lines of a megabyte at the same time."""
    if sys.platform != "linux":
        pytest.skip("only Linux lowers in forked processes")
    monkeypatch.setenv("MLCWEB_KERNEL_CACHE", "")
    monkeypatch.setenv(VARIABLE, "4")
    monkeypatch.setattr(lower, "cores", lambda: 2)
    really, here = lower.lower_tier, os.getpid()

    def talking(*args: object) -> object:
        if os.getpid() != here:
            for _ in range(5):
                logger("test").log(CODE, "%s", str(args[1])[:3] * 300_000)
        return really(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(lower, "lower_tier", talking)
    log_to_stderr()
    tiers = ("subgroups", "base")
    compile_bundle(
        CompileRequest(str(model), "q4f32_1", tmp_path / "out", tiers=tiers, scales="mlc", evaluate=False)
    )
    long = [line for line in capsys.readouterr().err.splitlines() if "mlcweb.test" in line]
    assert len(long) == 10 and all(line.endswith(": " + "Tie" * 300_000) for line in long)


def test_a_level_that_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for value in ("5", "-1", "verbose", "1.0"):
        monkeypatch.setenv(VARIABLE, value)
        assert run(["list", "--format", "json"]) == 1
        said = capsys.readouterr()
        assert f"{VARIABLE}={value!r} is not a level" in said.err and '"unsupported"' in said.out


def test_off_costs_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    class Message:
        def __str__(self) -> str:
            raise AssertionError("it was put together")

    monkeypatch.setenv(VARIABLE, "0")
    log_to_stderr()
    log = logger("lower.wgsl")
    assert not log.isEnabledFor(KERNEL) and not logging.getLogger("mlcweb").handlers
    log.log(CODE, "%s", Message())


def test_a_stage_that_fails_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    log_to_stderr()
    log_to_stderr()  # again, as a second command in this process does: a line is printed once
    with pytest.raises(KeyError), logged_stage(logger("test"), "stage"):
        raise KeyError
    said = capsys.readouterr()
    assert said.out == "" and re.fullmatch(
        r" *\d+\.\d{3} mlcweb\.test: stage: 0\.\d{3} s, failed\n", said.err
    )
