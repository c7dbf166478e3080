"""Builds what is published: a wheel and an sdist for PyPI, and a tarball for npm. `make dist` runs it.

python scripts/dist.py                     # into dist/packages, with a table of sizes and SHA256SUMS
python scripts/dist.py --release v1.2.0    # refuses where git has changes, or versions are not this tag's

Equal commits give equal bytes: files come from a folder that has what git tracks, with git's modes and the commit's
time, and there the engine is built too. So nothing else that lies in the clone gets in, and neither does its path, its
umask or the time. scripts/dist-requirements.txt and runtime-js/package-lock.json pin what builds.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import version

ROOT = Path(__file__).resolve().parents[1]
STAGED = ("mlcweb", "recipes", "runtime-js", "pyproject.toml", "LICENSE", "CHANGELOG.md", ".gitignore")
MODULES = Path("runtime-js", "node_modules")
# In every package, or it would install and not work.
WHEEL_HAS = (
    "mlcweb/engine/mlcweb.js",
    "mlcweb/engine/harness.html",
    "mlcweb/engine/chat.html",
    "mlcweb/recipes/SmolLM2-135M.toml",
    "mlcweb/contract/schemas/manifest.schema.json",
    "mlcweb/calibrate/text.txt",
    "mlcweb/evaluate/held_out.txt",
    "mlcweb/py.typed",
    "/licenses/LICENSE",
    "/licenses/mlcweb/engine/THIRD_PARTY_LICENSES.txt",
)
NPM_HAS = (
    "package/dist/root.js",
    "package/dist/mlcweb.js",
    "package/dist/types/root.d.ts",
    "package/dist/THIRD_PARTY_LICENSES.txt",
    "package/LICENSE",
    "package/README.md",
)


class DistError(Exception):
    """What is wrong, for the user."""


def git(*args: str) -> str:
    """What git says about the clone. Raises DistError where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise DistError("git is not here, and it knows which files belong to the packages") from error
    if done.returncode:
        raise DistError(f"git {args[0]}: {done.stderr.strip()}")
    return done.stdout


def commit_time() -> int:
    """The commit's time, in seconds since 1970."""
    return int(git("log", "-1", "--format=%ct").strip())


def stage(folder: Path) -> None:
    """Copy what git tracks of STAGED; a link becomes what it leads to."""
    linked = {}
    for entry in filter(None, git("ls-files", "-z", "--", *STAGED).split("\0")):
        source, target = ROOT / entry, folder / entry
        if source.is_dir():  # mlcweb/recipes, a link
            linked[entry] = str(source.resolve().relative_to(ROOT))
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    for entry, other in linked.items():
        shutil.copytree(folder / other, folder / entry)
    link_tree(ROOT / MODULES, folder / MODULES)


def name_repository(folder: Path, url: str) -> None:
    """Say in both packages where their source is: npm's provenance and PyPI's pages ask for it, and no file of the
    clone knows where it was cloned from."""
    path = folder / "runtime-js" / "package.json"
    manifest = json.loads(path.read_text())
    manifest["homepage"] = url
    manifest["repository"] = {"type": "git", "url": f"git+{url}.git", "directory": "runtime-js"}
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    path = folder / "pyproject.toml"
    head, scripts, rest = path.read_text().partition("[project.scripts]\n")
    path.write_text(f'{head}[project.urls]\nRepository = "{url}"\n\n{scripts}{rest}')


def link_tree(source: Path, target: Path) -> None:
    """The same tree again, of hard links; of copies where the file system has none."""

    def link(path: str, copy: str) -> None:
        try:
            os.link(path, copy)
        except OSError:
            shutil.copy2(path, copy)

    shutil.copytree(source.resolve(), target, symlinks=True, copy_function=link)


def settle(folder: Path, seconds: int) -> None:
    """Give all files but node_modules one mode and one time, whatever the umask and the clock are."""
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "node_modules"]
        for name in names:
            path = Path(top, name)
            path.chmod(0o644)
            os.utime(path, (seconds, seconds))
        Path(top).chmod(0o755)


def run(*command: str | Path, cwd: Path, env: Mapping[str, str]) -> None:
    """Run a program; its output is shown where it fails. Raises DistError then."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DistError(f"{' '.join(map(str, command))} failed:\n{done.stdout.strip()}")


def build(out: Path, repository: str | None) -> list[Path]:
    """Make the three packages in ``out``, a folder that is there."""
    seconds = commit_time()
    # What the user's shell says about Python and npm stays out.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "npm_"))}
    env = {**clean, "SOURCE_DATE_EPOCH": str(seconds), "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dist-stage-", dir=cache) as name:
        folder = Path(name)
        stage(folder)
        if repository:
            name_repository(folder, repository)
        say("building the engine")
        run("npm", "run", "build", cwd=folder / "runtime-js", env=env)
        settle(folder, seconds)
        say("packing for npm")
        run("npm", "pack", "--pack-destination", out, cwd=folder / "runtime-js", env=env)
        say("building the sdist, and the wheel from it")
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, folder, cwd=folder, env=env)
    built = sorted(out.iterdir())
    run(sys.executable, "-m", "twine", "check", "--strict", *wheel_and_sdist(built), cwd=out, env=env)
    return built


def wheel_and_sdist(packages: list[Path]) -> list[Path]:
    """Those that PyPI gets."""
    return [path for path in packages if path.name.endswith((".whl", ".tar.gz"))]


def contents(package: Path) -> dict[str, int]:
    """The bytes of each file in a package, by its name."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            return {info.filename: info.file_size for info in archive.infolist()}
    with tarfile.open(package) as archive_:
        return {info.name: info.size for info in archive_ if info.isfile()}


def check(packages: list[Path]) -> None:
    """Raises DistError where a package is absent or lacks a file."""
    expected = {f"mlcweb-{version.ours()}{end}" for end in ("-py3-none-any.whl", ".tar.gz", ".tgz")}
    if {path.name for path in packages} != expected:
        raise DistError(f"built {', '.join(path.name for path in packages)}; expected {sorted(expected)}")
    for package in packages:
        has = contents(package)
        needed = NPM_HAS if package.suffix == ".tgz" else WHEEL_HAS if package.suffix == ".whl" else ()
        missing = [name for name in needed if not any(path.endswith(name) for path in has)]
        if missing:
            raise DistError(f"{package.name} lacks {', '.join(missing)}")


def digest(path: Path) -> str:
    """Of a file: sha256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def table(packages: list[Path]) -> Iterator[str]:
    """Lines with each package's sizes and its hash."""
    yield f"{'package':30} {'KiB':>8} {'files':>6} {'unpacked':>9}  sha256"
    for path in packages:
        sizes = contents(path)
        kib, unpacked = path.stat().st_size / 1024, sum(sizes.values()) / 1024
        yield f"{path.name:30} {kib:8.0f} {len(sizes):6} {unpacked:9.0f}  {digest(path)}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds the packages for PyPI and npm.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "packages", help="folder to write to")
    parser.add_argument("--release", metavar="TAG", help="refuse what is not exactly this tag, as v1.2.0")
    parser.add_argument("--repository", metavar="URL", help="where the source is, for the packages' pages")
    options = parser.parse_args()
    out = options.out.resolve()
    try:
        changed = git("status", "--porcelain", "--untracked-files=no").splitlines()
        if changed and options.release:
            raise DistError(f"git has changes, so this is no release: {changed[0].strip()}")
        if changed:
            say(f"{len(changed)} files differ from the commit: these packages are for trying out")
        if options.repository and not re.fullmatch(r"https://[\w.-]+/[\w./-]*[\w-]", options.repository):
            raise DistError(
                f"--repository {options.repository} is no address such as https://host/owner/name"
            )
        if wrong := version.problems(options.release):
            raise DistError("\n".join(wrong))
        if not (ROOT / MODULES).is_dir():
            raise DistError("runtime-js/node_modules is not here; `make dist` gets it")
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".packages-", dir=out.parent) as name:
            built = build(Path(name), options.repository)
            check(built)
            sums = "".join(f"{digest(path)}  {path.name}\n" for path in built)
            out.mkdir(exist_ok=True)
            for old in [*out.glob("mlcweb-*"), *out.glob("SHA256SUMS")]:
                old.unlink()
            made = [Path(shutil.move(path, out / path.name)) for path in built]
            (out / "SHA256SUMS").write_text(sums)
    except (DistError, version.VersionError) as error:
        say(f"error: {error}")
        return 1
    print("\n".join(table(made)))
    with contextlib.suppress(ValueError):
        out = out.relative_to(Path.cwd())
    say(f"in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
