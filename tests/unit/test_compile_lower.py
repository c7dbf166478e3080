"""Tiers from the cache, from processes and from here are the same bytes, and fail and end the same way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlcweb.compile import CompileRequest, compile_bundle, lower
from mlcweb.compile.job import Job
from mlcweb.compile.tier import LoweredTier
from mlcweb.errors import CompileError
from mlcweb.kernel_cache import KernelCache
from mlcweb.kernels.choice.tier import Tier
from mlcweb.lower import wgsl
from mlcweb.progress import SilentProgress
from tests.support.tiny import TinyLlama, make_llama

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TIERS = ("subgroups", "base", "software")
forks = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lowers in forked processes")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "small", TinyLlama(layers=1))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KernelCache:
    monkeypatch.setenv("MLCWEB_KERNEL_CACHE", str(tmp_path / "kernels"))
    monkeypatch.setattr(lower, "cores", lambda: 2)
    return KernelCache(tmp_path / "kernels")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that were forked."""
    pids: list[int] = []
    fork = os.fork

    def watched() -> int:
        pid = fork()
        if pid:
            pids.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", watched)
    return pids


def compiled(model: Path, out: Path, quantization: str = "q4f32_1", name: str = "made") -> dict[str, bytes]:
    tiers = TIERS if quantization.endswith("f32_1") else ("f16", *TIERS)
    compile_bundle(CompileRequest(str(model), quantization=quantization, tiers=tiers, out_dir=out, name=name))
    return {path.name: path.read_bytes() for path in out.iterdir()}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_bundle_is_the_same_bytes_however_it_was_lowered(
    model: Path, cache: KernelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = compiled(model, tmp_path / "cold")
    assert cache.size()[0] > len(TIERS)
    with monkeypatch.context() as patch:
        patch.setattr(lower, "lower_tier", lambda *_: pytest.fail("a kept tier is lowered again"))
        assert compiled(model, tmp_path / "warm") == cold
    monkeypatch.setattr(lower, "_can_fork", lambda: False)
    with monkeypatch.context() as patch:
        patch.setenv("MLCWEB_KERNEL_CACHE", "")
        assert compiled(model, tmp_path / "without") == cold
    with monkeypatch.context() as patch:
        patch.setattr(lower, "tier_key", lambda job, tier: "a tier that nobody lowered")
        patch.setattr(wgsl, "_lower", lambda name, func: pytest.fail(f"{name} is lowered again"))
        assert compiled(model, tmp_path / "kernels-kept") == cold


def test_another_checkpoint_of_the_shape_lowers_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compiled(model, tmp_path / "first")
    monkeypatch.setattr(lower, "lower_tier", lambda *_: pytest.fail("a kept tier is lowered again"))
    other = make_llama(tmp_path / "other", TinyLlama(layers=1, seed=7))
    second = compiled(other, tmp_path / "second", name="another")
    same = {name for name in first if name.startswith(("plan", "kernels", "model"))}
    assert {name: second.get(name) for name in same} == {name: first[name] for name in same}
    assert second["mlcweb.json"] != first["mlcweb.json"]


def test_another_quantization_lowers_no_kernel_twice(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lower, "_can_fork", lambda: False)
    made: list[list[object]] = []
    really = wgsl._lower
    monkeypatch.setattr(wgsl, "_lower", lambda name, f: made.append(wgsl._key(name, f)) or really(name, f))
    compiled(model, tmp_path / "first")
    first = len(made)
    compiled(model, tmp_path / "second", "q4f16_1")
    assert len({repr(key) for key in made}) == len(made)
    launched = sum(
        path.read_text().count("//// kernel") for path in (tmp_path / "second").glob("kernels.*.wgsl")
    )
    assert len(made) - first < launched


@forks
def test_what_a_process_refuses_reads_as_it_does_here(
    model: Path, tmp_path: Path, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(job: Job, tier: Tier, cache: KernelCache | None, *dump: object) -> LoweredTier:
        if tier.name == "base":
            raise CompileError("kernel k needs 512 invocations; WebGPU has 256", hint="Fewer.")
        time.sleep(60)
        raise AssertionError("it should have been ended")

    monkeypatch.setattr(lower, "lower_tier", refuse)
    with pytest.raises(CompileError, match="kernel k needs 512") as caught:
        compiled(model, tmp_path / "out")
    assert caught.value.hint == "Fewer."
    assert not (tmp_path / "out").exists()
    assert len(started) == 2 and not any(map(alive, started))


@forks
def test_a_process_that_is_killed_costs_only_time(
    model: Path, tmp_path: Path, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, really = os.getpid(), lower.lower_tier

    def killed(job: Job, tier: Tier, cache: KernelCache | None, *dump: object) -> LoweredTier:
        if os.getpid() != here and tier.name == "base":
            os.kill(os.getpid(), signal.SIGKILL)
        return really(job, tier, cache)

    whole = compiled(model, tmp_path / "whole")
    monkeypatch.setenv("MLCWEB_KERNEL_CACHE", "")
    monkeypatch.setattr(lower, "lower_tier", killed)
    assert compiled(model, tmp_path / "out") == whole
    assert not any(map(alive, started))


@forks
def test_progress_that_ends_the_compile_ends_the_processes(
    model: Path, tmp_path: Path, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    really = lower.lower_tier

    def slow(job: Job, tier: Tier, cache: KernelCache | None, *dump: object) -> LoweredTier:
        if tier.name != "subgroups":
            time.sleep(60)
        return really(job, tier, cache)

    class Ending(SilentProgress):
        def advance(self, amount: int) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(lower, "lower_tier", slow)
    request = CompileRequest(str(model), quantization="q4f32_1", tiers=TIERS, out_dir=tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        compile_bundle(request, Ending())
    assert len(started) >= 2 and not any(map(alive, started))


INTERRUPTED = """
import os, sys, time
from pathlib import Path
from mlcweb.compile import lower
from mlcweb.cli.command import run

def forever(job, tier, cache, dump):
    Path(sys.argv[2], str(os.getpid())).touch()
    time.sleep(60)

lower.lower_tier, lower._cpus = forever, lambda: 2
sys.exit(run(["compile", sys.argv[1], "--quant", "q4f32_1", "--out", sys.argv[3]]))
"""


@forks
def test_ctrl_c_while_processes_lower(model: Path, tmp_path: Path) -> None:
    pids, out = tmp_path / "pids", tmp_path / "out"
    pids.mkdir()
    command = [sys.executable, "-c", INTERRUPTED, str(model), str(pids), str(out)]
    # a shell's background jobs ignore Ctrl-C, and so would what they start
    run = subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 60
    while len(list(pids.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "interrupted" in said and "Traceback" not in said
    assert not out.exists()
    assert len(list(pids.iterdir())) == 2
    assert not any(alive(int(path.name)) for path in pids.iterdir())
