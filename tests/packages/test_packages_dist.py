"""`make dist`: equal commits give equal bytes, nothing else of a clone gets in, and a release is its tag's commit."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.packages import DIST_PYTHON, ROOT, Packages, dist
from tests.support.program import program

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib


def git(*args: str, cwd: Path = ROOT) -> str:
    return subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, built: Packages) -> Path:
    """A clone of this one in another place, with the same changes that are not committed yet."""
    folder = tmp_path_factory.mktemp("else where") / "clone"
    git("clone", "--quiet", str(ROOT), str(folder))
    for name in filter(None, git("diff", "--name-only", "-z", "HEAD").split("\0")):
        (folder / name).unlink(missing_ok=True)
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    git("add", "--all", cwd=folder)
    (folder / "runtime-js" / "node_modules").symlink_to(ROOT / "runtime-js" / "node_modules")
    return folder


def test_another_place_another_time_and_a_full_clone_give_the_same_bytes(
    built: Packages, clone: Path, tmp_path: Path
) -> None:
    junk = (
        "mlcweb/notes.py",
        "mlcweb/recipes/Mine.toml",
        "mlcweb/engine/old.js",
        "mlcweb/__pycache__/errors.cpython-310.pyc",
        "runtime-js/src/experiment.ts",
        "runtime-js/dist/old.js",
        "runtime-js/LICENSE.old",
        "mlcweb.egg-info/PKG-INFO",
        "build/lib/mlcweb/old.py",
    )
    for name in junk:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("export const secret = 1;\n")
    for path in (clone / "mlcweb").rglob("*.py"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o700)
    out = tmp_path / "out"
    status, said = dist("--out", out, root=clone, umask=0o077, TZ="Asia/Tokyo", LC_ALL="C")
    assert status == 0, said
    assert {path.name: path.read_bytes() for path in out.glob("mlcweb-*")} == {
        path.name: path.read_bytes() for path in built.all
    }


def test_the_table_and_the_sums_are_of_the_files(built: Packages) -> None:
    sums = dict(reversed(line.split()) for line in (built.folder / "SHA256SUMS").read_text().splitlines())
    assert sums == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in built.all}
    lines = list(program_dist().table(built.all))
    assert [line.split()[0] for line in lines] == ["package", *(path.name for path in built.all)]
    assert all(sums[line.split()[0]] in line for line in lines[1:])


def program_dist() -> ModuleType:
    """scripts/dist.py, which finds version.py beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        return program("scripts/dist.py")


def test_every_file_has_the_commits_time_and_one_mode(built: Packages) -> None:
    seconds = int(git("log", "-1", "--format=%ct"))
    with tarfile.open(built.sdist) as archive:
        members = archive.getmembers()
    assert {(m.mtime, m.mode, m.uid, m.gid, m.uname, m.gname) for m in members} == {
        (seconds, 0o644, 0, 0, "", "")
    }
    when = datetime.fromtimestamp(seconds, timezone.utc)
    with zipfile.ZipFile(built.wheel) as wheel:
        infos = wheel.infolist()
    assert {info.date_time for info in infos} == {(*when.timetuple()[:5], when.second // 2 * 2)}
    assert {info.external_attr >> 16 & 0o777 for info in infos} == {0o644}
    with tarfile.open(built.npm) as archive:
        assert {member.mode for member in archive} == {0o644}


def test_the_sdist_makes_the_wheel_without_node(built: Packages, tmp_path: Path) -> None:
    """With no git, no Node, and nothing of the clone."""
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    env = {"PATH": "", "SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct").strip()}
    command = [DIST_PYTHON, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "out", source]
    subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, timeout=120)
    (wheel,) = (tmp_path / "out").iterdir()
    assert wheel.read_bytes() == built.wheel.read_bytes()


def test_the_wheel_is_for_every_machine_and_leaves_out_what_only_a_clone_uses(built: Packages) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        text = wheel.read(metadata).decode()
    assert built.wheel.name.endswith("-py3-none-any.whl")
    recipes = {f"mlcweb/recipes/{path.name}" for path in (ROOT / "recipes").glob("*.toml")}
    assert len(recipes) >= 64 and recipes <= names
    tracked = {name for name in git("ls-files", "mlcweb").splitlines() if name.endswith(".py")}
    shipped = {name for name in names if name.endswith(".py")}
    assert tracked - shipped == {
        name
        for name in tracked
        if name.startswith("mlcweb/contract/generate/") or name == "mlcweb/cli/reference.py"
    }
    assert shipped <= tracked
    assert "License-Expression: Apache-2.0" in text and "Provides-Extra: publish" in text
    tops = {name.split("/")[0] for name in names}
    assert tops == {"mlcweb", metadata.split("/")[0]}


def test_packages_pages_have_no_links_into_the_repository() -> None:
    """Which lead nowhere on PyPI and npm."""
    for page in ("mlcweb/README.md", "runtime-js/README.md"):
        text = (ROOT / page).read_text()
        assert "](" not in text and "<img" not in text, page


def test_the_repository_is_named_when_it_is_known(tmp_path: Path) -> None:
    """`name_repository` changes the files that are staged, and nothing else of them."""
    (tmp_path / "runtime-js").mkdir()
    for name in ("pyproject.toml", "runtime-js/package.json"):
        shutil.copy(ROOT / name, tmp_path / name)
    program_dist().name_repository(tmp_path, "https://git.example/owner/mlcweb")
    manifest = json.loads((tmp_path / "runtime-js" / "package.json").read_text())
    assert manifest.pop("homepage") == "https://git.example/owner/mlcweb"
    assert manifest.pop("repository") == {
        "type": "git",
        "url": "git+https://git.example/owner/mlcweb.git",
        "directory": "runtime-js",
    }
    assert manifest == json.loads((ROOT / "runtime-js" / "package.json").read_text())
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())
    assert project["project"].pop("urls") == {"Repository": "https://git.example/owner/mlcweb"}
    assert project == tomllib.loads((ROOT / "pyproject.toml").read_text())
    status, said = dist("--repository", "mlcweb", "--out", tmp_path / "out")
    assert status == 1 and "is no address such as" in said


def test_a_release_of_changed_files_is_refused(clone: Path, tmp_path: Path) -> None:
    changelog = clone / "CHANGELOG.md"
    changelog.write_text(changelog.read_text() + "more\n")
    status, said = dist("--release", "v9.9.9", "--out", tmp_path / "out", root=clone)
    assert status == 1
    assert "git has changes, so this is no release" in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_build_that_fails_leaves_the_packages_of_before(clone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mlcweb-0.0.1.tgz").write_text("before")
    engine = clone / "runtime-js" / "src" / "index.ts"
    engine.write_text("export const wrong: number = 'text'\n")
    status, said = dist("--out", out, root=clone)
    assert status == 1
    assert "npm run build failed" in said and "TS2322" in said
    assert [path.name for path in out.iterdir()] == ["mlcweb-0.0.1.tgz"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_without_nodes_modules_it_says_so(clone: Path, tmp_path: Path) -> None:
    modules = clone / "runtime-js" / "node_modules"
    modules.rename(modules.with_name("away"))
    status, said = dist("--out", tmp_path / "out", root=clone)
    modules.with_name("away").rename(modules)
    assert status == 1 and "runtime-js/node_modules is not here" in said and "Traceback" not in said


def test_without_git_it_says_so(tmp_path: Path) -> None:
    for name in ("dist.py", "version.py"):
        (tmp_path / "scripts").mkdir(exist_ok=True)
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    status, said = dist(root=tmp_path)
    assert status == 1 and "error: git status" in said and "Traceback" not in said
