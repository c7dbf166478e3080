"""``mlcweb compile --dump``: what is in it, and that it is whole or not there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mlcweb.bundle import open_bundle
from mlcweb.cli.command import run
from mlcweb.compile import CompileRequest, compile_bundle, lower
from mlcweb.compile.dump import MARKER, open_dump
from mlcweb.errors import CompileError, MlcwebError, UnsupportedError
from mlcweb.progress import SilentProgress
from tests.support.tiny import TinyLlama, make_llama

pytestmark = pytest.mark.slow

TIERS = ("base", "software")
PHASES = ["0-export", "1-to_non_dataflow", "2-remove_purity_checking", "3-call_tir_rewrite", "4-plan_memory"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "small", TinyLlama(layers=1))


def request(model: Path, out: Path, **options: Any) -> CompileRequest:
    options = {"tiers": TIERS, "scales": "mlc", "evaluate": False, **options}
    return CompileRequest(str(model), "q4f32_1", out, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``plain``, a bundle; ``out``, the same with a dump; and ``dump``."""
    folder = tmp_path_factory.mktemp("made")
    compile_bundle(request(model, folder / "plain"))  # fills the cache, which the dump must not ask
    compile_bundle(request(model, folder / "out", dump=folder / "dump"))
    return folder


def test_the_bundle_is_the_same(made: Path) -> None:
    assert files(made / "plain") == files(made / "out")


@pytest.mark.parametrize("tier", TIERS)
def test_each_entry_has_its_relax_after_each_phase(made: Path, tier: str) -> None:
    entries = open_bundle(made / "out").plan(tier)["entries"]
    for entry in entries:
        folder = made / "dump" / tier / entry
        assert sorted(path.name for path in folder.iterdir()) == [f"{name}.relax.py" for name in PHASES]
        texts = [(folder / f"{name}.relax.py").read_text() for name in PHASES]
        assert all(f"def {entry}(" in text for text in texts)
        assert "R.dataflow()" in texts[0] and "R.dataflow()" not in texts[1]
        assert "R.call_tir" in texts[2] and "R.call_tir" not in texts[3]
        allocates = entry not in ("penalize", "mask", "count")  # which work in place
        assert ("R.memory.alloc_storage" in texts[4]) == allocates
        assert "R.memory.alloc_storage" not in texts[3]
    left = {path.name for path in (made / "dump" / tier).iterdir() if path.is_dir()} - {"kernels"}
    assert left == set(entries)


@pytest.mark.parametrize("tier", TIERS)
def test_each_kernel_has_its_tir_and_the_bundles_wgsl(made: Path, tier: str) -> None:
    folder = made / "dump" / tier / "kernels"
    kernels = open_bundle(made / "out").kernels(tier)
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{kind}" for name in kernels for kind in ("tir.py", "wgsl")
    }
    for name, source in kernels.items():
        assert source == f"//// kernel {name}\n" + (folder / f"{name}.wgsl").read_text()
        assert "@T.prim_func" in (folder / f"{name}.tir.py").read_text()


def test_the_plan_has_grids(made: Path) -> None:
    text = (made / "dump" / "base" / "plan.txt").read_text()
    row = next(line for line in text.splitlines() if re.match(r" +\d+  prefill_norm ", line))
    assert re.search(r" prefill_norm +norm +0 +n +64\b", row), "a workgroup of 64 for each row"
    bundle = open_bundle(made / "out").plan("base")
    for entry, facts in bundle["entries"].items():
        assert re.search(rf"^{entry}( of n)?: {len(facts['launches'])} launches", text, re.M)


def test_a_current_bundle_is_dumped_and_not_made_again(
    model: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(made / "out")
    result = compile_bundle(request(model, made / "out", dump=tmp_path / "again"))
    assert result.reused and files(made / "out") == before
    assert files(tmp_path / "again") == files(made / "dump")
    monkeypatch.setattr(lower, "_can_fork", lambda: False)
    compile_bundle(request(model, made / "out", dump=tmp_path / "again"))
    assert files(tmp_path / "again") == files(made / "dump"), "in this process, over a dump"


class Ending(SilentProgress):
    def __init__(self, stage: str, error: BaseException) -> None:
        self.stage, self.error = stage, error

    def start(self, stage: str, total: int = 0, unit: str = "items") -> None:
        if stage == self.stage:
            raise self.error


@pytest.mark.parametrize("stage", ["open", "quantize", "finish"])
@pytest.mark.parametrize("error", [CompileError("no"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
def test_a_compile_that_fails_leaves_nothing(
    model: Path, made: Path, tmp_path: Path, stage: str, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        compile_bundle(request(model, tmp_path / "out", dump=tmp_path / "dump"), Ending(stage, error))
    assert list(tmp_path.iterdir()) == []
    kept = tmp_path / "kept"
    kept.mkdir()
    with pytest.raises(type(error)):
        compile_bundle(request(model, tmp_path / "out", dump=kept), Ending(stage, error))
    assert list(kept.iterdir()) == [] and not (tmp_path / "out").exists()


def test_a_failure_keeps_the_dump_of_before(model: Path, made: Path, tmp_path: Path) -> None:
    compile_bundle(request(model, made / "out", dump=tmp_path / "dump"))
    before = files(tmp_path / "dump")
    with pytest.raises(CompileError):
        compile_bundle(
            request(model, tmp_path / "out", dump=tmp_path / "dump"), Ending("quantize", CompileError("no"))
        )
    assert files(tmp_path / "dump") == before


def test_a_folder_of_something_else_is_refused_unless_forced(model: Path, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.mkdir()
    (dump / "notes.txt").write_text("mine")
    (dump / "base").mkdir()
    (dump / "base" / "old").write_text("mine too")
    with pytest.raises(UnsupportedError, match=r"is no dump: it holds base") as caught:
        compile_bundle(request(model, tmp_path / "out", dump=dump))
    assert "--force" in caught.value.hint
    assert (
        sorted(path.name for path in dump.iterdir()) == ["base", "notes.txt"]
        and not (tmp_path / "out").exists()
    )
    compile_bundle(request(model, tmp_path / "out", dump=dump, force=True))
    assert (dump / "notes.txt").read_text() == "mine" and not (dump / "base" / "old").exists()
    with pytest.raises(UnsupportedError, match=r"is not a dump alone: it holds notes\.txt"):
        compile_bundle(request(model, tmp_path / "out", dump=dump))


def test_fewer_tiers_replace_all_of_a_dump(model: Path, made: Path, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    compile_bundle(request(model, made / "out", dump=dump))
    compile_bundle(request(model, tmp_path / "out", dump=dump, tiers=("base",)))
    assert sorted(path.name for path in dump.iterdir()) == ["base", MARKER]


@pytest.mark.parametrize(
    "marker", ["", "[]", "{}", '{"format": "mlcweb-dump", "tiers": ["..", "../x", 3, null]}']
)
def test_a_damaged_marker_gives_nothing_away(tmp_path: Path, marker: str) -> None:
    (tmp_path / MARKER).write_text(marker)
    (tmp_path / "x").write_text("mine")
    with pytest.raises(UnsupportedError), open_dump(tmp_path, force=False):
        pass
    assert (tmp_path / "x").read_text() == "mine"


def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    left = tmp_path / ".partial-99999999"
    left.mkdir()
    with open_dump(tmp_path, force=False):
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_the_bundles_folder_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(MlcwebError, match="is the bundle's folder"):
        compile_bundle(request(model, tmp_path / "out", dump=tmp_path / "." / "out"))
    assert not (tmp_path / "out").exists()


def test_the_command_line(
    model: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    source = ["compile", str(model), "--quant", "q4f32_1"]
    assert run([*source, "--dump", str(tmp_path / "file")]) == 2
    capsys.readouterr()
    dump, out = tmp_path / "deep" / "dump", tmp_path / "out"
    options = ["--out", str(out), "--dump", str(dump), "--scales", "mlc", "--no-eval", "--tier", "base"]
    assert run([*source, *options, "--format", "json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["dump"] == str(dump) and (dump / "base" / "plan.txt").is_file()
    assert f"are in {dump}" in said.err
