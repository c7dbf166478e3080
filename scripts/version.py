"""The version, which four files say; all have to agree, and with a release's tag CHANGELOG.md too.

python scripts/version.py           # prints it, or says which file differs, with status 1
python scripts/version.py v1.2.0    # for a release of this tag
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
        if not re.search(
            rf"^## \[?{re.escape(version)}\]? - \d{{4}}-\d\d-\d\d$", (root / "CHANGELOG.md").read_text(), re.M
        ):
            wrong.append(f'CHANGELOG.md has no heading such as "## {version} - 2026-01-31"')
    return wrong


def _found(path: Path, pattern: str) -> str:
    match = re.search(pattern, path.read_text(), re.M)
    if not match:
        raise VersionError(f"{path.name} says no version")
    return match[1]


def main() -> int:
    try:
        wrong = problems(*sys.argv[1:2])
    except VersionError as error:
        wrong = [str(error)]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    if not wrong:
        print(ours())
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
