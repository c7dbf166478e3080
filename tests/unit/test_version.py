"""scripts/version.py: every file says one version, and a release's tag and changelog do too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.program import ROOT, program

FILES = (
    "pyproject.toml",
    "mlcweb/__init__.py",
    "runtime-js/package.json",
    "runtime-js/package-lock.json",
    "CHANGELOG.md",
)
version = program("scripts/version.py")
OURS = version.ours()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_this_tree_says_one_version() -> None:
    assert version.problems() == []


@pytest.mark.parametrize("name", FILES[1:-1])
def test_a_file_that_differs_is_named(tree: Path, name: str) -> None:
    text = (tree / name).read_text()
    (tree / name).write_text(text.replace(f'"{OURS}"', '"7.7.7"', 1))
    (said,) = version.problems(root=tree)
    assert said == f"{name} says 7.7.7; pyproject.toml says {OURS}"


def test_the_lock_file_says_it_twice(tree: Path) -> None:
    path = tree / "runtime-js" / "package-lock.json"
    head, _, rest = path.read_text().partition('"packages"')
    path.write_text(head + '"packages"' + rest.replace(f'"version": "{OURS}"', '"version": "7.7.7"', 1))
    (said,) = version.problems(root=tree)
    assert said.startswith("runtime-js/package-lock.json's packages says 7.7.7")


def test_a_version_is_three_numbers(tree: Path) -> None:
    """PyPI calls 1.0.0-rc.1 1.0.0rc1, so the two packages would have two."""
    for name in FILES[:-1]:
        (tree / name).write_text((tree / name).read_text().replace(f'"{OURS}"', '"1.0.0-rc.1"'))
    assert version.problems(root=tree) == ["pyproject.toml's version 1.0.0-rc.1 is not like 1.2.0"]


def test_a_file_without_a_version_is_an_error(tree: Path) -> None:
    (tree / "mlcweb" / "__init__.py").write_text('"""Nothing."""\n')
    with pytest.raises(version.VersionError, match=r"__init__\.py says no version"):
        version.problems(root=tree)


@pytest.mark.parametrize(
    ("heading", "wrong"),
    [
        (f"## {OURS} - 2026-12-24\n\n- It is there.\n", ""),
        (f"## {OURS} - 2026-12-24\n", "has nothing under"),
        (f"## {OURS}\n\n- It is there.\n", "has no heading"),
        (f"## {OURS}1 - 2026-12-24\n\n- It is there.\n", "has no heading"),
        ("", "has no heading"),
    ],
)
def test_a_release_has_its_changes(tree: Path, heading: str, wrong: str) -> None:
    page = tree / "CHANGELOG.md"
    page.write_text(
        f"# Changelog\n\n## Unreleased\n\n- Later.\n\n{heading}\n## 0.0.1 - 2026-01-01\n\n- Before.\n"
    )
    said = version.problems(f"v{OURS}", root=tree)
    if wrong:
        assert len(said) == 1 and wrong in said[0]
    else:
        assert said == [] and version.changes(tree) == "- It is there.\n"


@pytest.mark.parametrize("tag", [OURS, "v7.7.7", f"v{OURS}-rc.1", f"release-{OURS}"])
def test_another_tag_is_refused(tree: Path, tag: str) -> None:
    page = tree / "CHANGELOG.md"
    page.write_text(f"# Changelog\n\n## {OURS} - 2026-12-24\n\n- It is there.\n")
    assert version.problems(tag, root=tree) == [f"the tag is {tag}; for version {OURS} it is v{OURS}"]
