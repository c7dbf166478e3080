"""Writing a bundle: the same bytes each time, whole or not at all, whatever interrupts it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlcweb.bundle import BundleWriter, disk, open_bundle, replace
from mlcweb.errors import BundleError
from tests.support.bundle_sample import CHUNK, arrays, fill, make_bundle


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_two_writes_give_the_same_bytes(tmp_path: Path) -> None:
    first = contents(make_bundle(tmp_path / "one").path)
    assert first == contents(make_bundle(tmp_path / "two").path)
    assert len(first) == 5 + 8 + 1  # chunks; plans, kernels, tokenizer, wasm, validation; manifest
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


def test_chunks_are_cut_exactly_and_padded(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    weights = bundle.manifest.weights
    sizes = [bundle.manifest.files[name].bytes for name in weights.chunks]
    assert sizes == [256, 256, 256, 256, 224]
    assert [tensor.offset for tensor in weights.tensors] == [0, 48, 624, 656, 848]
    expected = b""
    for array in arrays().values():
        expected += array.tobytes() + bytes(-array.nbytes % 16)
    assert b"".join((bundle.path / name).read_bytes() for name in weights.chunks) == expected
    assert [name[:12] for name in weights.chunks] == [f"weights-{i:03}." for i in range(5)]


def test_a_last_tensor_that_ends_a_chunk_makes_no_empty_one(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "b", chunk_bytes=CHUNK) as writer:
        with writer.weights() as weights:
            weights.add_tensor("a", np.zeros(2 * CHUNK // 4, np.float32))
        assert len(list(writer._folder.iterdir())) == 2


def test_pieces_of_any_size_make_the_same_tensor(tmp_path: Path) -> None:
    array = arrays()["a.q_weight"]
    data = array.tobytes()
    with BundleWriter(tmp_path / "b", chunk_bytes=CHUNK) as writer:
        with writer.weights() as weights:
            weights.begin_tensor("bytes", "uint32", array.shape)
            for start in range(0, len(data), 7):
                weights.write(data[start : start + 7])
            weights.begin_tensor("rows", "uint32", array.shape)
            for row in array:
                weights.write(row)
            weights.add_tensor("strided", np.repeat(array, 2, axis=1)[:, ::2])
            weights.add_tensor("big-endian", array.astype(">u4"))
        stored = writer.stored_weights()
        for name in ("bytes", "rows", "strided", "big-endian"):
            assert np.array_equal(stored.tensor(name), array)


def test_programming_errors_are_value_errors(tmp_path: Path) -> None:
    def writing() -> BundleWriter:
        return BundleWriter(tmp_path / "b", chunk_bytes=CHUNK)

    with (
        pytest.raises(ValueError, match="x is short of 4 of 8 bytes"),
        writing() as w,
        w.weights() as weights,
    ):
        weights.begin_tensor("x", "float32", (2,))
        weights.write(bytes(4))
    with (
        pytest.raises(ValueError, match="x has 8 bytes left and got 9"),
        writing() as w,
        w.weights() as weights,
    ):
        weights.begin_tensor("x", "float32", (2,))
        weights.write(bytes(9))
    with pytest.raises(ValueError, match="already written"), writing() as w, w.weights() as weights:
        weights.add_tensor("x", np.zeros(2, np.float32))
        weights.add_tensor("x", np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="x has the dtype float64"), writing() as w, w.weights() as weights:
        weights.add_tensor("x", np.zeros(2))
    with (
        pytest.raises(ValueError, match="x is float32, the data float16"),
        writing() as w,
        w.weights() as weights,
    ):
        weights.begin_tensor("x", "float32", (2,))
        weights.write(np.zeros(4, np.float16))
    with pytest.raises(ValueError, match="no file name"), writing() as w:
        w.add_file("../x", "json", b"")
    with pytest.raises(ValueError, match="chunk_bytes"), BundleWriter(tmp_path / "b", chunk_bytes=24) as w:
        w.weights()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupted_write_leaves_the_old_bundle_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    out = make_bundle(tmp_path / "b").path
    before = contents(out)
    with pytest.raises(type(error)), BundleWriter(out) as writer, writer.weights() as weights:
        weights.begin_tensor("x", "float32", (2,))
        weights.write(bytes(4))
        raise error
    assert os.listdir(tmp_path) == ["b"]
    assert contents(out) == before


def test_a_new_bundle_replaces_the_old_one(tmp_path: Path) -> None:
    out = make_bundle(tmp_path / "b", name="old").path
    (out / "stale.00000000.bin").write_bytes(b"of an older compile")
    assert make_bundle(out, name="new").manifest.name == "new"
    assert not (out / "stale.00000000.bin").exists()
    assert os.listdir(tmp_path) == ["b"]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failed_rename_puts_the_old_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    out = make_bundle(tmp_path / "b").path
    before = contents(out)
    calls = 0
    rename = os.rename

    def fail(src: Path, dst: Path) -> None:
        nonlocal calls
        if src == out or dst == out:
            calls += 1
            if calls == failing:
                raise KeyboardInterrupt
        rename(src, dst)

    monkeypatch.setattr(replace.os, "rename", fail)
    with pytest.raises(KeyboardInterrupt):
        make_bundle(out, name="new")
    assert calls >= failing
    assert contents(out) == before
    assert os.listdir(tmp_path) == ["b"]


DIES_BETWEEN_RENAMES = """
import os, sys
from pathlib import Path
from mlcweb.bundle import replace
from tests.support.bundle_sample import make_bundle
out, rename = Path(sys.argv[1]), os.rename
def die(src, dst):
    if Path(dst) == out:
        os._exit(9)
    rename(src, dst)
replace.os.rename = die
make_bundle(out, name="new")
"""


def test_a_process_killed_between_the_renames_is_recovered_from(tmp_path: Path) -> None:
    out = make_bundle(tmp_path / "b", name="old").path
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", DIES_BETWEEN_RENAMES, str(out)], cwd=root)
    assert done.returncode == 9
    assert not out.exists()
    with pytest.raises(RuntimeError, match="stop"), BundleWriter(out):
        raise RuntimeError("stop")
    assert open_bundle(out).manifest.name == "old"
    assert os.listdir(tmp_path) == ["b"]


def test_folders_of_dead_processes_are_removed_and_of_live_ones_kept(tmp_path: Path) -> None:
    (tmp_path / f".b.partial-{dead_pid()}").mkdir()
    (tmp_path / f".b.partial-{os.getpid()}").mkdir()
    alive = f".b.partial-{os.getppid()}"
    (tmp_path / alive).mkdir()
    (tmp_path / ".b.partial-notes").mkdir()
    make_bundle(tmp_path / "b")
    assert sorted(os.listdir(tmp_path)) == sorted([alive, ".b.partial-notes", "b"])


@pytest.mark.parametrize("name", ["thesis.txt", ".git", "weights.bin", "src"])
def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path, name: str) -> None:
    out = make_bundle(tmp_path / "b").path
    (out / name).mkdir() if name in (".git", "src") else (out / name).write_text("precious")
    with pytest.raises(BundleError, match="would delete it") as caught:
        make_bundle(out)
    assert name in caught.value.message
    assert (out / name).exists()
    assert os.listdir(tmp_path) == ["b"]


def test_a_file_that_appears_while_writing_is_kept(tmp_path: Path) -> None:
    out = make_bundle(tmp_path / "b").path
    with pytest.raises(BundleError, match="would delete it"), BundleWriter(out, chunk_bytes=CHUNK) as writer:
        (out / "thesis.txt").write_text("precious")
        fill(writer)
    assert (out / "thesis.txt").read_text() == "precious"
    assert os.listdir(tmp_path) == ["b"]


def test_an_output_that_is_a_file_or_the_root(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(BundleError, match="is a file"):
        make_bundle(tmp_path / "f")
    with pytest.raises(BundleError, match="cannot be a bundle folder"):
        make_bundle(Path("/"))


def test_a_link_to_a_bundle_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert make_bundle(tmp_path / "link", name="new").manifest.name == "new"
    assert (tmp_path / "link").is_symlink()
    assert open_bundle(tmp_path / "real").manifest.name == "new"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_at_any_write_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    write_all = disk.write_all
    out = make_bundle(tmp_path / "b").path
    before = contents(out)
    writes = failures = 0
    while failures == writes:
        left = writes

        def full(file: object, data: object) -> None:
            nonlocal left
            if left == 0:
                raise OSError(code, os.strerror(code))
            left -= 1
            write_all(file, data)  # type: ignore[arg-type]

        monkeypatch.setattr(disk, "write_all", full)
        monkeypatch.setattr("mlcweb.bundle.weights_writer.write_all", full)
        writes += 1
        try:
            with BundleWriter(out, chunk_bytes=CHUNK, expected_bytes=5_000_000) as writer:
                fill(writer)
        except BundleError as error:
            failures += 1
            assert error.message == f"disk full while writing {out}: the bundle needs about 6 MB"
            assert contents(out) == before
            assert os.listdir(tmp_path) == ["b"]
    assert failures > 14


def test_a_real_write_that_the_system_refuses(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(BundleError, match=r"disk full while writing .*needs more than 1 MB"):
            make_bundle(tmp_path / "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_a_bundle_larger_than_the_disk_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"disk full: the bundle .* needs about 1000000000001 MB"):
        BundleWriter(tmp_path / "b", expected_bytes=10**18).__enter__()
    assert os.listdir(tmp_path) == []


def test_an_invalid_manifest_is_never_put_in_place(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="name"):
        make_bundle(tmp_path / "b", name="")
    assert os.listdir(tmp_path) == []
