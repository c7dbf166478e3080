"""The npm tarball in pages: by an import map without a bundler, and in an app of Vite's own starter, both under a strict
Content-Security-Policy."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page as RawPage

from mlcweb.browser.page import open_page
from tests.support.browser import npm_app
from tests.support.browser.policed_site import POLICY, hash_of, serve_policed
from tests.support.packages import Packages

IMPORT_MAP = json.dumps(
    {"imports": {"mlcweb": "/node_modules/mlcweb/dist/root.js", "mlcweb/": "/node_modules/mlcweb/dist/"}}
)


@pytest.fixture
def page(chromium: Path) -> Iterator[RawPage]:
    with open_page(chromium, hold_signals=False) as opened:
        yield opened.raw


@pytest.fixture(scope="module")
def installed(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in node_modules, as npm would unpack it."""
    folder = tmp_path_factory.mktemp("site")
    modules = folder / "node_modules"
    with tarfile.open(packages.npm) as archive:
        archive.extractall(modules, filter="data")
    (modules / "package").rename(modules / "mlcweb")
    return folder


def test_an_import_map_is_enough(installed: Path, page: RawPage, tmp_path: Path) -> None:
    (installed / "index.html").write_text(
        f"""<!doctype html><title>map</title><link rel="icon" href="data:,">
<script type="importmap">{IMPORT_MAP}</script><script type="module" src="app.js"></script>"""
    )
    script = npm_app.PAGE.replace("{suffix}", ".js")
    (installed / "app.js").write_text(
        script.replace("{worker}", npm_app.WORKER_URL.replace("{file}", "./worker.js"))
    )
    # An import map does not hold in workers.
    (installed / "worker.js").write_text(npm_app.WORKER.replace("{serve}", "/node_modules/mlcweb/dist/serve.js"))
    npm_app.write_models(installed / "models", tmp_path)
    with serve_policed(installed, POLICY.replace("{inline}", f" {hash_of(IMPORT_MAP)}")) as site:
        npm_app.check(npm_app.open_and_use(page, site.url))
    scripts = [Path(path).name for path in site.asked if path.endswith(".js")]
    # what is optional comes when it is used, in this order
    optional = ["constrain.js", "catalog.js", "openai.js"]
    assert [name for name in dict.fromkeys(scripts) if name in optional] == optional


def test_every_entry_is_there_and_has_types(installed: Path) -> None:
    root = installed / "node_modules" / "mlcweb"
    manifest = json.loads((root / "package.json").read_text())
    assert not manifest.get("dependencies")
    assert len(manifest["exports"]) == 11
    for entry in manifest["exports"].values():
        assert (root / entry["default"]).is_file() and (root / entry["types"]).is_file()
    for script in (root / "dist").glob("*.js"):
        named = re.findall(r'(?:from|import)\s*\(?"([^"]+)"', script.read_text())
        assert all((script.parent / name).is_file() for name in named), script.name
    for types in (root / "dist" / "types").glob("*.d.ts"):
        # WebGPU's types are not in TypeScript's before 6
        assert not re.search(r"\bGPU(?!Error)[A-Z]\w+", re.sub(r"/\*.*?\*/", "", types.read_text(), flags=re.S))
