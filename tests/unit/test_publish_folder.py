"""Publishing to a folder: readers see whole models, nothing is sent twice, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mlcweb.errors import PublishError
from mlcweb.publish import PublishRequest, publish
from mlcweb.publish.folder import FolderTarget
from tests.support.bundle_sample import make_bundle
from tests.support.published import age, catalog, in_folder, send, sha256_of, tree, whole_model

NAME = "Sample-q4f32_1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "old").path


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """The same model, with other weights."""
    return make_bundle(tmp_path / "new", seed=8).path


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


def test_a_dry_run_changes_nothing(old: Path, new: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    assert send(old, target, dry_run=True).bundles[0].sent_files == 13
    assert not target.exists()
    send(old, target)
    before = tree(target)
    result = send(new, target, dry_run=True, prune=True, grace=timedelta(0))
    assert 0 < result.bundles[0].sent_files < 13
    assert tree(target) == before


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
