"""Whatever ends a compile, the old bundle stays, half a bundle never shows, and running it again works."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlcweb.bundle import disk, open_bundle, weights_writer, writer
from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.errors import BundleError
from mlcweb.progress import SilentProgress
from tests.support.tiny import TinyLlama, make_llama

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("open", "lower", "quantize", "reference", "finish")


class Ending(SilentProgress):
    """Raises when a stage begins, or in its middle: at the first progress that it makes."""

    def __init__(self, stage: str, error: BaseException, *, middle: bool = False) -> None:
        self.stage, self.error, self.middle, self.now = stage, error, middle, ""

    def start(self, stage: str, total: int = 0, unit: str = "items") -> None:
        self.now = stage
        if stage == self.stage and not self.middle:
            raise self.error

    def advance(self, amount: int) -> None:
        if self.now == self.stage:
            raise self.error


def request(model: Path, out: Path, **options: Any) -> CompileRequest:
    return CompileRequest(str(model), quantization="q4f32_1", tiers=("base",), out_dir=out, **options)


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "small", TinyLlama(layers=1))


@pytest.fixture(scope="module")
def bundle(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a compile that nothing ends makes."""
    out = tmp_path_factory.mktemp("whole") / "out"
    compile_bundle(request(model, out))
    return listing(out)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a defect")], ids=["ctrl-c", "error"])
@pytest.mark.parametrize(
    ("stage", "middle"),
    [*((s, False) for s in STAGES), ("lower", True), ("quantize", True), ("reference", True)],
)
def test_nothing_is_left_of_an_ended_compile(
    stage: str, middle: bool, error: BaseException, model: Path, bundle: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "dist" / "out"
    with pytest.raises(type(error)):
        compile_bundle(request(model, out), Ending(stage, error, middle=middle))
    assert listing(tmp_path) == {}
    assert not out.exists()
    if stage == "quantize":
        compile_bundle(request(model, out))
        assert listing(out) == bundle


@pytest.mark.parametrize("stage", STAGES)
def test_the_old_bundle_stays(stage: str, model: Path, bundle: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name, data in bundle.items():
        (out / name).write_bytes(data)
    with pytest.raises(KeyboardInterrupt):
        compile_bundle(request(model, out, context_length=64, force=True), Ending(stage, KeyboardInterrupt()))
    assert listing(out) == bundle
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("where", ["kernels.base", "weights", "validation", "mlcweb.json"])
def test_a_full_disk(
    where: str, model: Path, bundle: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = disk.write_all

    def write_all(file: Any, data: bytes | memoryview) -> None:
        if Path(file.name).name.startswith(where):
            write(file, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file, data)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_all", write_all)
        patch.setattr(weights_writer, "write_all", write_all)
        with pytest.raises(BundleError, match="disk full while writing") as caught:
            compile_bundle(request(model, out))
    assert "Free space" in caught.value.hint
    assert listing(tmp_path) == {}
    compile_bundle(request(model, out))
    assert listing(out) == bundle


def test_a_disk_too_small_is_refused_before_any_work(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(writer.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(BundleError, match="needs about 1 MB, 0 MB are free"):
        compile_bundle(request(model, tmp_path / "out"), Ending("lower", AssertionError("work began")))
    assert listing(tmp_path) == {}


def test_a_folder_of_other_files_is_not_replaced(model: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match=r"holds thesis\.tex"):
        compile_bundle(request(model, tmp_path))
    with pytest.raises(BundleError, match=r"holds config\.json"):
        compile_bundle(request(model, model))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


KILLED = """
import os, signal, sys
from pathlib import Path
from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.progress import SilentProgress

class Killed(SilentProgress):
    def start(self, stage, total=0, unit="items"):
        if stage == "reference":
            os.kill(os.getpid(), signal.SIGKILL)

model, out = sys.argv[1:]
compile_bundle(CompileRequest(model, quantization="q4f32_1", tiers=("base",), out_dir=Path(out)), Killed())
"""


def test_a_killed_compile_is_cleaned_up_by_the_next(
    model: Path, bundle: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", KILLED, model, out], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.partial-")
    assert listing(left), "it was killed with files written"
    assert not compile_bundle(request(model, out)).reused
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert listing(out) == bundle
    open_bundle(out).verify(SilentProgress())
