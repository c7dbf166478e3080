"""The version, which four files say; all have to agree, and with a release's tag CHANGELOG.md too.

python scripts/version.py           # prints it, or says which file differs, with status 1
python scripts/version.py v1.2.0    # for a release of this tag
python scripts/version.py --changes # what CHANGELOG.md says of this version
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PUBLIC = re.compile(r"\d+\.\d+\.\d+")  # PyPI and npm spell all others in two ways


class VersionError(Exception):
    """A file that should say the version does not."""


def ours(root: Path = ROOT) -> str:
    """As pyproject.toml says it. Raises VersionError."""
    return _found(root / "pyproject.toml", r'^version = "([^"]+)"$')


def problems(tag: str | None = None, root: Path = ROOT) -> list[str]:
    """A line for each file, and for the tag, that differs from pyproject.toml. Raises VersionError."""
    version = ours(root)
    lock = json.loads((root / "runtime-js" / "package-lock.json").read_text())
    said = {
        "mlcweb/__init__.py": _found(root / "mlcweb" / "__init__.py", r'^__version__ = "([^"]+)"$'),
        "runtime-js/package.json": json.loads((root / "runtime-js" / "package.json").read_text())["version"],
        "runtime-js/package-lock.json": lock["version"],
        "runtime-js/package-lock.json's packages": lock["packages"][""]["version"],
    }
    wrong = [
        f"{name} says {other}; pyproject.toml says {version}"
        for name, other in said.items()
        if other != version
    ]
    if not _PUBLIC.fullmatch(version):
        wrong.append(f"pyproject.toml's version {version} is not like 1.2.0")
    if tag is not None:
        if tag != f"v{version}":
            wrong.append(f"the tag is {tag}; for version {version} it is v{version}")
        try:
            changes(root)
        except VersionError as error:
            wrong.append(str(error))
    return wrong


def changes(root: Path = ROOT) -> str:
    """CHANGELOG.md's section of this version. Raises VersionError where there is none, or nothing in it."""
    version = ours(root)
    _, *sections = re.split(r"^## ", (root / "CHANGELOG.md").read_text(), flags=re.M)
    for section in sections:
        title, _, text = section.partition("\n")
        if re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", title.strip()):
            if not text.strip():
                raise VersionError(f'CHANGELOG.md has nothing under "## {title.strip()}"')
            return text.strip() + "\n"
    raise VersionError(f'CHANGELOG.md has no heading such as "## {version} - 2026-01-31"')


def _found(path: Path, pattern: str) -> str:
    match = re.search(pattern, path.read_text(), re.M)
    if not match:
        raise VersionError(f"{path.name} says no version")
    return match[1]


def main() -> int:
    shown, wrong = "", []
    try:
        if sys.argv[1:] == ["--changes"]:
            shown = changes()
        else:
            wrong, shown = problems(*sys.argv[1:2]), f"{ours()}\n"
    except VersionError as error:
        wrong = [str(error)]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    if not wrong:
        print(shown, end="")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
