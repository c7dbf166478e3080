"""What --prune removes, and what it keeps."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mlcweb.errors import PublishError
from tests.support.bundle_sample import make_bundle
from tests.support.published import age, in_folder, send, sha256_of, tree, whole_model

NAME = "Sample-q4f32_1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "old").path


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """The same model, with other weights."""
    return make_bundle(tmp_path / "new", seed=8).path


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
