"""What publishing refuses: damaged bundles, other models, targets that cannot be written, broken catalogs."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mlcweb.errors import MlcwebError, PublishError
from mlcweb.publish import PublishRequest, folder, publish
from tests.support.bundle_sample import make_bundle
from tests.support.published import catalog, in_folder, send, sha256_of, whole_model

NAME = "Sample-q4f32_1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "old").path


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """The same model, with other weights."""
    return make_bundle(tmp_path / "new", seed=8).path


@pytest.mark.parametrize("damage", ["content", "size", "missing", "manifest", "plan"])
def test_a_bundle_that_is_not_what_its_manifest_says_is_refused(
    damage: str, old: Path, new: Path, tmp_path: Path
) -> None:
    target = tmp_path / "there"
    send(old, target)
    chunk = next(file for file in sorted(new.glob("weights-*")) if not (old / file.name).exists())
    if damage == "content":
        chunk.write_bytes(bytes(chunk.stat().st_size))
    elif damage == "size":
        chunk.write_bytes(chunk.read_bytes() + b"0")
    elif damage == "missing":
        chunk.unlink()
    elif damage == "manifest":
        (new / "mlcweb.json").write_text("{}")
    else:
        next(new.glob("plan.base.*")).write_bytes(b"{}")
    with pytest.raises(MlcwebError) as caught:
        send(new, target)
    assert caught.value.code == "bundle"
    assert whole_model(in_folder(target), NAME) == sha256_of(old)
    assert not list(target.rglob(".*part*"))


def test_two_bundles_of_one_name_are_refused(old: Path, new: Path, tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=f"two of the bundles are named {NAME}"):
        publish(PublishRequest((old, new), str(tmp_path / "there")))
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("name", ["../up", "a/b", "a\\b", ".hidden", "catalog.json", "bell\a", "ä" * 101])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", name=name).path
    with pytest.raises(PublishError, match="cannot be a folder's"):
        send(bundle, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_half_a_character_goes_into_no_name_and_no_catalog(old: Path, tmp_path: Path) -> None:
    manifest = old / "mlcweb.json"
    text = manifest.read_text()
    manifest.write_text(text.replace(f'"{NAME}"', '"a\\ud800"'))
    with pytest.raises(PublishError, match="cannot be a folder's"):
        send(old, tmp_path / "there")
    manifest.write_text(text.replace('"apache-2.0"', '"mit\\ud800"'))
    send(old, tmp_path / "there")
    assert catalog(in_folder(tmp_path / "there"))[NAME]["licence"] == "mit "


def test_another_model_under_the_name_is_refused_unless_forced(old: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    send(old, target)
    other = make_bundle(tmp_path / "other", source="org/other").path
    with pytest.raises(PublishError, match="another model: llama sample, not llama other") as caught:
        send(other, target)
    assert "--force" in caught.value.hint
    assert whole_model(in_folder(target), NAME) == sha256_of(old)
    send(other, target, force=True)
    assert whole_model(in_folder(target), NAME) == sha256_of(other)


def test_the_same_model_from_another_organisation_is_the_same(old: Path, tmp_path: Path) -> None:
    send(old, tmp_path / "there")
    send(make_bundle(tmp_path / "mirror", source="mirror/sample").path, tmp_path / "there")


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (b"<!doctype html>", "is not a manifest"),
        (b"[]", "is not a bundle's manifest"),
        (b'{"format": "other", "version": 1, "model": {}}', "is not a bundle's manifest"),
        (b'{"format": "mlcweb-bundle", "version": 3, "model": {}}', "format version 3"),
        (b'{"format": "mlcweb-bundle", "version": "9", "model": {}}', "format version 9"),
    ],
)
def test_what_is_no_bundle_or_newer_is_not_replaced(
    there: bytes, said: str, old: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "there" / NAME / "mlcweb.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(there)
    with pytest.raises(PublishError, match=said):
        send(old, tmp_path / "there")
    assert manifest.read_bytes() == there
    send(old, tmp_path / "there", force=True)
    assert whole_model(in_folder(tmp_path / "there"), NAME) == sha256_of(old)


@pytest.mark.parametrize(
    ("failing", "said"),
    [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only"), (errno.EACCES, "denied")],
)
def test_a_target_that_cannot_be_written_is_an_error_with_a_hint(
    failing: int, said: str, old: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "there"
    send(old, target)

    def fail(file: object, data: object) -> None:
        raise OSError(failing, os.strerror(failing))

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_all", fail)
        with pytest.raises(PublishError, match=said) as caught:
            send(new, target)
    assert caught.value.hint
    assert whole_model(in_folder(target), NAME) == sha256_of(old)
    assert not list(target.rglob(".*part*"))
    send(new, target)
    assert whole_model(in_folder(target), NAME) == sha256_of(new)


def test_a_target_that_is_a_file_is_refused(old: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("a file")
    with pytest.raises(PublishError, match="there"):
        send(old, tmp_path / "there")


@pytest.mark.parametrize("text", ["<html>", "{}", '{"format": "mlcweb-catalog", "version": 2, "models": []}'])
def test_a_catalog_that_cannot_be_read_is_not_replaced(text: str, old: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    target.mkdir()
    (target / "catalog.json").write_text(text)
    with pytest.raises(PublishError, match=r"catalog\.json") as caught:
        send(old, target)
    assert "--no-catalog" in caught.value.hint
    assert (target / "catalog.json").read_text() == text
    assert send(old, target, catalog=False).catalog is None
    assert whole_model(in_folder(target), NAME) == sha256_of(old)


def test_a_hostile_name_of_a_model_does_not_reach_the_catalog(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", source="org/\x1b[31m").path
    send(bundle, tmp_path / "there")
    assert catalog(in_folder(tmp_path / "there"))[NAME]["model"] == "org/ [31m"
