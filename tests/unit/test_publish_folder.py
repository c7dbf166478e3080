"""Publishing to a folder: readers see whole models, nothing is sent twice, and nothing is lost."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mlcweb.errors import MlcwebError, PublishError
from mlcweb.publish import PublishRequest, PublishResult, folder, publish
from mlcweb.publish.folder import FolderTarget
from tests.support.bundle_sample import make_bundle
from tests.support.published import catalog, in_folder, sha256_of, whole_model

NAME = "Sample-q4f32_1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "old").path


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """The same model, with other weights."""
    return make_bundle(tmp_path / "new", seed=8).path


def send(bundle: Path, target: Path, **options: Any) -> PublishResult:
    return publish(PublishRequest((bundle,), str(target), **options))


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def test_a_published_bundle_is_whole_and_in_the_catalog(old: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    result = send(old, target).bundles[0]
    assert (result.sent_files, result.there_files, result.manifest) == (13, 0, "sent")
    assert tree(target / NAME) == tree(old)
    assert whole_model(in_folder(target), NAME) == sha256_of(old)
    model = catalog(in_folder(target))[NAME]
    assert model["url"] == f"{NAME}/" and model["model"] == "org/sample"
    assert model["manifest_sha256"] == sha256_of(old)
    assert model["bytes"] == sum(map(len, tree(old).values()))
    assert [tier["name"] for tier in model["tiers"]] == ["subgroups", "base"]
    assert [memory["context"] for memory in model["tiers"][0]["memory"]] == [64]


def test_a_second_time_nothing_is_sent(old: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    send(old, target)
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    result = send(old, target)
    assert (result.bundles[0].sent_files, result.bundles[0].there_files) == (0, 13)
    assert (result.bundles[0].manifest, result.catalog) == ("unchanged", "unchanged")
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before


def test_a_new_version_sends_what_differs_and_keeps_the_old_files(
    old: Path, new: Path, tmp_path: Path
) -> None:
    target = tmp_path / "there"
    send(old, target)
    result = send(new, target).bundles[0]
    assert 0 < result.sent_files < 13 and result.sent_files + result.there_files == 13
    assert whole_model(in_folder(target), NAME) == sha256_of(new)
    assert set(tree(target / NAME)) > set(tree(old)) | set(tree(new))  # and the manifest that was replaced
    assert catalog(in_folder(target))[NAME]["manifest_sha256"] == sha256_of(new)


def test_paths_and_names_with_spaces_and_umlauts(tmp_path: Path) -> None:
    name = "Größe 1 é#%"
    bundle = make_bundle(tmp_path / "a bundle ß", name=name)
    target = tmp_path / "Modelle für alle"
    send(bundle.path, target)
    assert whole_model(in_folder(target), name) == sha256_of(bundle.path)
    assert catalog(in_folder(target))[name]["url"] == "Gr%C3%B6%C3%9Fe%201%20%C3%A9%23%25/"


def test_a_file_that_is_cut_short_is_sent_again(old: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    send(old, target)
    chunk = next((target / NAME).glob("weights-001.*"))
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert send(old, target).bundles[0].sent_files == 1
    assert whole_model(in_folder(target), NAME) == sha256_of(old)


def test_a_damaged_file_there_is_found_by_a_full_check_and_sent_with_force(old: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    send(old, target)
    chunk = next((target / NAME).glob("weights-001.*"))
    chunk.write_bytes(bytes(chunk.stat().st_size))
    send(old, target)
    with pytest.raises(PublishError, match=r"weights-001.*damaged at the target") as caught:
        send(old, target, verify="full")
    assert "--force" in caught.value.hint
    assert send(old, target, verify="full", force=True).bundles[0].sent_files == 13


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


def test_a_dry_run_changes_nothing(old: Path, new: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    assert send(old, target, dry_run=True).bundles[0].sent_files == 13
    assert not target.exists()
    send(old, target)
    before = tree(target)
    result = send(new, target, dry_run=True, prune=True, grace=timedelta(0))
    assert 0 < result.bundles[0].sent_files < 13
    assert tree(target) == before


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


class Stopping(FolderTarget):
    """Ends the publisher before or after its nth change, as a kill does."""

    def __init__(self, root: Path, steps: int) -> None:
        super().__init__(root)
        self.workers = 1
        self.steps = steps

    def _step(self, change: Callable[[], None]) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise KeyboardInterrupt
        change()

    def send(self, *arguments: Any) -> None:
        self._step(lambda: FolderTarget.send(self, *arguments))

    def put(self, *arguments: Any, **more: Any) -> None:
        self._step(lambda: FolderTarget.put(self, *arguments, **more))

    def remove(self, keys: Any) -> None:
        for key in keys:
            self._step(lambda key=key: FolderTarget.remove(self, [key]))


def test_a_publisher_that_ends_at_any_step_leaves_a_whole_model(old: Path, new: Path, tmp_path: Path) -> None:
    seen, steps = set(), 0
    while True:
        target = tmp_path / f"there-{steps}"
        send(old, target)
        request = PublishRequest((new,), str(target), prune=True, grace=timedelta(0))
        try:
            publish(request, target=Stopping(target, steps))
            ended = True
        except KeyboardInterrupt:
            ended = False
        model = whole_model(in_folder(target), NAME)
        assert model in (sha256_of(old), sha256_of(new))
        seen.add(model)
        publish(request)
        assert whole_model(in_folder(target), NAME) == sha256_of(new)
        assert catalog(in_folder(target))[NAME]["manifest_sha256"] == sha256_of(new)
        assert set(tree(target / NAME)) == set(tree(new))
        if ended:
            break
        steps += 1
    assert steps > 8 and len(seen) == 2


def test_publishers_at_once_lose_nothing(tmp_path: Path) -> None:
    target = tmp_path / "there"
    names = [f"Sample-{i}" for i in range(6)]
    bundles = [make_bundle(tmp_path / name, name=name, seed=i).path for i, name in enumerate(names)]
    failed: list[BaseException] = []
    barrier = threading.Barrier(len(names))

    def run(bundle: Path) -> None:
        try:
            barrier.wait()
            send(bundle, target)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(bundle,)) for bundle in bundles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(catalog(in_folder(target))) == names
    for name, bundle in zip(names, bundles, strict=True):
        assert whole_model(in_folder(target), name) == sha256_of(bundle)


def test_a_version_that_is_replaced_before_the_catalog_is_written_comes_again(
    old: Path, new: Path, tmp_path: Path
) -> None:
    target = tmp_path / "there"

    class Overtaken(FolderTarget):
        overtaken = False

        def put(self, key: str, *arguments: Any, **more: Any) -> None:
            if key == "catalog.json" and not self.overtaken:
                self.overtaken = True
                send(new, target)
            super().put(key, *arguments, **more)

    publish(PublishRequest((old,), str(target)), target=Overtaken(target))
    assert whole_model(in_folder(target), NAME) == sha256_of(old)
    assert catalog(in_folder(target))[NAME]["manifest_sha256"] == sha256_of(old)


def test_prune_removes_what_no_kept_manifest_names_after_the_grace_period(
    old: Path, new: Path, tmp_path: Path
) -> None:
    target = tmp_path / "there"
    send(old, target)
    foreign = ["notes.txt", "sub/weights-009.00000000.bin", "index.html", "weights-000.bin"]
    for name in foreign:
        (target / NAME / name).parent.mkdir(exist_ok=True)
        (target / NAME / name).write_text("not ours")
    gone = target / NAME / "weights-009.00000000.bin"
    gone.write_text("of a bundle long gone")
    for path in target.rglob("*"):
        age(path, 30)
    # the manifest that is replaced now keeps its files, however old they are
    assert send(new, target, prune=True).bundles[0].removed == (gone.name,)
    assert set(tree(old)) < set(tree(target / NAME))
    # it was replaced 8 days ago: it goes, and with it what only it names
    for path in (target / NAME).glob("mlcweb.*.json"):
        age(path, 8)
    assert send(new, target, prune=True, dry_run=True).bundles[0].removed
    removed = set(send(new, target, prune=True).bundles[0].removed)
    assert {name for name in removed if name.startswith("weights")} == set(tree(old)) - set(tree(new))
    assert set(tree(target / NAME)) == {*tree(new), *foreign}
    assert whole_model(in_folder(target), NAME) == sha256_of(new)
    assert send(new, target, prune=True).bundles[0].removed == ()


def test_prune_keeps_what_another_publisher_has_just_sent(old: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    send(old, target)
    coming = target / NAME / "weights-009.00000000.bin"
    coming.write_text("its manifest comes in a moment")
    assert send(old, target, prune=True).bundles[0].removed == ()
    assert send(old, target, prune=True, grace=timedelta(0)).bundles[0].removed == (coming.name,)


def test_prune_stops_where_a_kept_manifest_cannot_be_read(old: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    send(old, target)
    (target / NAME / "mlcweb.00000000.json").write_text("{}")
    with pytest.raises(PublishError, match=r"mlcweb\.00000000\.json is not a manifest"):
        send(old, target, prune=True)


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


def test_what_a_killed_publisher_left_half_written_is_removed(old: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    (target / NAME).mkdir(parents=True)
    left = target / NAME / ".weights-000.00000000.bin.part-999999999-0"
    fresh = target / NAME / ".weights-000.00000000.bin.part-999999998-0"
    for path in (left, fresh):
        path.write_text("half")
    age(left, 1)
    send(old, target)
    assert not left.exists() and fresh.exists()  # of a process on another machine, perhaps
