"""Writes everything that is made of the contract's source, or with ``--check`` says which files are out of date.

python -m mlcweb.contract.generate            (``make contract``)
python -m mlcweb.contract.generate --check    exit 1 on a difference (``make lint``)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from mlcweb.contract.generate import page, python, source, typescript

ROOT = Path(__file__).parents[3]
PAGES = ("docs/bundle-format.md", "docs/architecture.md")


def files() -> dict[str, str]:
    """Each generated file's text, by its path from the repository's root."""
    table = source.constants()
    schemas = source.schemas(table)
    contract, engine = "mlcweb/contract", "runtime-js/src/contract/generated"
    made = {
        f"{contract}/constants.py": python.constants(table),
        f"{contract}/manifest.py": python.dataclasses(schemas["manifest"], table, "The manifest's values."),
        f"{contract}/plan.py": python.typed_dicts(schemas["plan"], table, "The plan's JSON."),
        f"{contract}/validation.py": python.typed_dicts(
            schemas["validation"], table, "The validation's JSON."
        ),
    }
    made[f"{contract}/text_validation.py"] = python.typed_dicts(
        schemas["text_validation"], table, "The JSON of a validation of whole texts."
    )
    made[f"{contract}/catalog.py"] = python.typed_dicts(schemas["catalog"], table, "The catalog's JSON.")
    made = {path: _formatted(path, text) for path, text in made.items()}
    made[f"{engine}/constants.ts"] = typescript.constants(table)
    made[f"{engine}/documents.ts"] = typescript.documents(schemas, table)
    for name, schema in schemas.items():
        made[f"{contract}/schemas/{name}.schema.json"] = json.dumps(schema, indent=1) + "\n"
        made[f"{engine}/{name}.schema.json"] = typescript.checked(schema)
    for name in PAGES:
        made[name] = page.filled((ROOT / name).read_text(encoding="utf-8"), table)
    return made


def _formatted(path: str, text: str) -> str:
    """Python as ruff, which a development environment has, writes it."""
    command = [sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", str(ROOT / path), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on a difference")
    check = parser.parse_args().check
    changed = []
    for name, text in files().items():
        path = ROOT / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            changed.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if check and changed:
        print(
            f"not as mlcweb/contract/source says: {', '.join(changed)}\nhint: make contract", file=sys.stderr
        )
        return 1
    print(f"{len(changed)} files written" if changed else "all generated files are as their source says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
