"""Finds an example's pages and scripts, checks its types and bundles it, without changing it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
NODE = [str(ROOT / "scripts" / "with-node.sh"), "node"]
DIST = ROOT / "runtime-js" / "dist"
TSC = ROOT / "runtime-js" / "node_modules" / "typescript" / "bin" / "tsc"
_SKIPPED = {"node_modules", "dist", ".parcel-cache", ".next", "build"}
_SOURCE = (".ts", ".tsx", ".js", ".jsx", ".mjs")
_SCRIPT = re.compile(r"<script[^>]+src=[\"']([^\"':]+)[\"']")
_URL = re.compile(r"new URL\(\s*[\"'`]([^\"'`]+)[\"'`]\s*,\s*import\.meta\.url")
# What an example lacks when its packages are not installed, and Chrome's own names, which no alias brings.
_NOT_OURS = re.compile(
    r"TS(2307|2882|7016)(?!.*web-llm)|TS(2304|2503|2580|2591).*'(chrome|process|require|Buffer)'"
)


@dataclass
class Example:
    """A folder with a page, and what came of it; empty texts are good."""

    name: str
    folder: Path
    pages: list[Path]
    types: str = ""
    built: dict[Path, Path] = field(default_factory=dict)
    bundle: str = ""
    runs: str = ""
    error: str = ""


def find_examples(root: Path) -> list[Example]:
    """Each folder of ``root`` that has a package.json or a page; one with several apps inside is several."""
    found = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path.name not in _SKIPPED):
        apps = [folder, *(path.parent for path in _files(folder, ("package.json",)) if path.parent != folder)]
        for app in apps:
            pages = [page for page in _files(app, (".html",)) if _app_of(page, apps) == app]
            if pages or (app == folder and _files(app, _SOURCE) and len(apps) == 1):
                found.append(Example(str(app.relative_to(root)), app, pages))
    return found


def _app_of(path: Path, apps: list[Path]) -> Path:
    return max((app for app in apps if path.is_relative_to(app)), key=lambda app: len(app.parts))


def _files(folder: Path, ends: tuple[str, ...]) -> list[Path]:
    every = (Path(top, name) for top, _, names in os.walk(folder) for name in names if name.endswith(ends))
    return sorted(path for path in every if not _SKIPPED & set(path.relative_to(folder).parts))


def check_types(example: Example, scratch: Path) -> None:
    """tsc on all of its TypeScript, with our types by the alias. Strict or not: the examples do not say, and some of
    them compile in one way only, with WebLLM's types too."""
    sources = [
        path for path in _files(example.folder, (".ts", ".tsx")) if not path.name.endswith(".config.ts")
    ]
    if not sources:
        example.types = "no TypeScript"
        return
    tried = [_compile(sources, scratch, strict=strict) for strict in (True, False)]
    example.types = min(tried, key=lambda errors: bool(errors))


def _compile(sources: list[Path], scratch: Path, *, strict: bool) -> str:
    """The first error, and how many more there are; empty if there is none."""
    options = {
        "target": "es2022",
        "module": "esnext",
        "moduleResolution": "bundler",
        "lib": ["es2023", "dom", "dom.iterable", "dom.asynciterable"],
        "strict": strict,
        "noEmit": True,
        "skipLibCheck": True,
        "jsx": "react-jsx",
        "types": [],
        "allowJs": True,
        "checkJs": False,
        "resolveJsonModule": True,
        "paths": {"@mlc-ai/web-llm": [str(DIST / "types" / "root.d.ts")]},
    }
    project = scratch / "tsconfig.json"
    project.write_text(json.dumps({"compilerOptions": options, "files": [str(path) for path in sources]}))
    done = subprocess.run(
        [*NODE, str(TSC), "-p", str(project), "--pretty", "false"],
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [
        line for line in done.stdout.splitlines() if ": error TS" in line and not _NOT_OURS.search(line)
    ]
    if not errors:
        return ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return re.sub(r"^.*/", "", errors[0]) + more


def bundle(example: Example, scratch: Path, packages: Path | None) -> None:
    """esbuild on each script of its pages, and on those that they start as workers."""
    todo = [
        (page.parent / src).resolve()
        for page in example.pages
        for src in _SCRIPT.findall(page.read_text(encoding="utf-8", errors="replace"))
    ]
    todo += [
        (path.parent / name).resolve()
        for path in _files(example.folder, _SOURCE)
        for name in _URL.findall(path.read_text(encoding="utf-8", errors="replace"))
    ]
    scripts = [path for path in dict.fromkeys(todo) if path.is_file() and path.suffix in _SOURCE]
    if not scripts:
        example.bundle = (
            "it has no page with a script" if not example.pages else "its pages have no scripts here"
        )
        return
    paths = [example.folder / "node_modules", example.folder.parents[0] / "node_modules"]
    paths += [packages / "node_modules"] if packages else []
    command = [*NODE, str(HERE / "bundle.mjs"), str(DIST / "root.js"), str(scratch), str(example.folder)]
    env = {**os.environ, "NODE_PATH": ":".join(map(str, paths))}
    done = subprocess.run([*command, *map(str, scripts)], capture_output=True, text=True, check=True, env=env)
    for script, result in json.loads(done.stdout).items():
        if "file" in result:
            example.built[Path(script)] = Path(result["file"])
        else:
            example.bundle = example.bundle or f"{Path(script).name}: {result['error']}"


def fetch_packages(example: Example, folder: Path) -> Path | None:
    """Its packages but WebLLM's and the bundlers', by npm, in a folder of ours; None where it needs none."""
    manifest = example.folder / "package.json"
    if not manifest.is_file():
        return None
    content = json.loads(manifest.read_text(encoding="utf-8"))
    wanted = {
        name: version
        for name, version in content.get("dependencies", {}).items()
        if name != "@mlc-ai/web-llm" and not version.startswith(("file:", "link:"))
    }
    if not wanted:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
    command = [str(ROOT / "scripts" / "with-node.sh"), "npm", "--prefix", str(folder), "install"]
    subprocess.run([*command, "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], check=False)
    return folder
