"""The npm tarball in pages under a strict Content-Security-Policy: by an import map without a bundler, and in an app
of Vite's own starter."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error
from playwright.sync_api import Page as RawPage

from mlcweb.browser.page import open_page
from tests.support.browser import npm_app
from tests.support.browser.policed_site import POLICY, hash_of, serve_policed
from tests.support.packages import ROOT, WITH_NODE, Packages

CREATE_VITE = "9.3.0"
TYPESCRIPTS = ("5.7", "5.8", "5.9", "6.0", "7.0")
VITE = ("npx", "--no-install", "vite")
LINTERS = ("publint@0.3.25", "@arethetypeswrong/cli@0.18.5")
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
    (installed / "worker.js").write_text(
        npm_app.WORKER.replace("{serve}", "/node_modules/mlcweb/dist/serve.js")
    )
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
    assert len(manifest["exports"]) == 14
    for entry in manifest["exports"].values():
        assert (root / entry["default"]).is_file() and (root / entry["types"]).is_file()
    for script in (root / "dist").glob("*.js"):
        named = re.findall(r'(?:from|import)\s*\(?"([^"]+)"', script.read_text())
        assert all((script.parent / name).is_file() for name in named), script.name
    for types in (root / "dist" / "types").glob("*.d.ts"):
        # WebGPU's types are not in TypeScript's before 6
        assert not re.search(
            r"\bGPU(?!Error)[A-Z]\w+", re.sub(r"/\*.*?\*/", "", types.read_text(), flags=re.S)
        )


def test_code_of_others_ships_with_its_licence_or_not_at_all(installed: Path, tmp_path: Path) -> None:
    dist = installed / "node_modules" / "mlcweb" / "dist"
    text = (dist / "THIRD_PARTY_LICENSES.txt").read_text()
    sources = {source for path in dist.glob("*.map") for source in json.loads(path.read_text())["sources"]}
    others = {m[1] for source in sources if (m := re.search(r"node_modules/((?:@[^/]+/)?[^/]+)", source))}
    assert others and all(re.search(rf"^{name} [\d.]+ \(", text, re.M) for name in others)
    package = tmp_path / "node_modules" / "bare"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "bare", "version": "1.0.0", "license": "MIT"}')
    script = f"""import {{ licencesOf }} from "{(ROOT / "runtime-js" / "scripts" / "licences.mjs").as_uri()}";
await licencesOf("{tmp_path}/", ["src/a.ts", "node_modules/bare/index.js"]);"""
    with pytest.raises(
        AssertionError, match="node_modules/bare has no licence file, and its code would ship"
    ):
        npm("node", "--input-type=module", "--eval", script, cwd=tmp_path)


def npm(*args: str | Path, cwd: Path) -> str:
    """What npm, or a program that it installed, prints; fails where it fails. With no settings of the clone's."""
    done = subprocess.run(
        [WITH_NODE, "sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", cwd, *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def app(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app of Vite's starter for TypeScript, with the package, a page and a worker that use it, and a model."""
    folder = tmp_path_factory.mktemp("vite")
    create = ("npm", "create", "--yes", f"vite@{CREATE_VITE}", "app", "--")
    npm(*create, "--template", "vanilla-ts", "--no-interactive", cwd=folder)
    app = folder / "app"
    npm("npm", "install", "--no-audit", "--no-fund", packages.npm, cwd=app)
    worker = npm_app.WORKER_URL.replace("{file}", "./worker.ts")
    script = npm_app.PAGE.replace("{suffix}", "").replace("{worker}", worker)
    typed = script.replace('role: "user"', 'role: "user" as const')
    (app / "src" / "main.ts").write_text("import './style.css';\n" + typed)
    (app / "src" / "worker.ts").write_text(npm_app.WORKER.replace("{serve}", "mlcweb/serve"))
    npm_app.write_models(app / "public" / "models", folder)
    return app


def test_an_app_of_vites_starter_type_checks(app: Path) -> None:
    """With all that is strict on, types of packages checked too, and nothing installed for it."""
    (app / "src" / "all.ts").write_text(importing_all(app))
    npm("npx", "--no-install", "tsc", "--noEmit", "--strict", "--skipLibCheck", "false", cwd=app)
    main = (app / "src" / "main.ts").read_text()
    (app / "src" / "main.ts").write_text(
        main + "\nexport const wrong: number = (await Engine.load('')).info.tier;\n"
    )
    with pytest.raises(AssertionError, match=r"main\.ts.*TS2322"):
        npm("npx", "--no-install", "tsc", "--noEmit", "--strict", cwd=app)
    (app / "src" / "main.ts").write_text(main)


def importing_all(app: Path) -> str:
    """A script with every entry of the package but ai-sdk, whose types are of a package that its users have."""
    exports = json.loads((app / "node_modules" / "mlcweb" / "package.json").read_text())["exports"]
    names = [name[1:] for name in exports if name != "./ai-sdk"]
    return "".join(f'export * as e{i} from "mlcweb{name}";\n' for i, name in enumerate(names))


def test_an_app_of_vites_starter_answers_under_a_strict_policy(app: Path, page: RawPage) -> None:
    said = npm(*VITE, "build", cwd=app)
    assert "warn" not in said.lower(), said
    with serve_policed(app / "dist", POLICY.replace("{inline}", "")) as site:
        npm_app.check(npm_app.open_and_use(page, site.url))
    chunks = [
        re.sub(r"-[\w-]{8}\.js$", "", path.rpartition("/")[2]) for path in site.asked if path.endswith(".js")
    ]
    optional = ["constrain", "catalog", "openai"]
    assert [name for name in dict.fromkeys(chunks) if name in optional] == optional


@pytest.mark.whole
def test_vites_workers_of_modules_are_in_chunks(app: Path, page: RawPage) -> None:
    config = (
        "import { defineConfig } from 'vite';\nexport default defineConfig({ worker: { format: 'es' } });\n"
    )
    (app / "chunks.config.ts").write_text(config)
    npm(*VITE, "build", "--config", "chunks.config.ts", "--outDir", "chunks", cwd=app)
    with serve_policed(app / "chunks", POLICY.replace("{inline}", "")) as site:
        npm_app.check(npm_app.open_and_use(page, site.url))
    sizes = [(app / "chunks" / path[1:]).stat().st_size for path in site.asked if "/worker-" in path]
    whole = [path.stat().st_size for path in (app / "dist" / "assets").glob("worker-*.js")]
    assert sizes and max(sizes) < max(whole)


@pytest.mark.whole
def test_vites_development_server_shows_it_too(app: Path, page: RawPage) -> None:
    """Whose scripts are of its own making, so that no strict policy holds."""
    # not by npx, which leaves it running when it is itself ended
    start = 'cd "$1" && exec node node_modules/vite/bin/vite.js --port 0'
    command: list[str | Path] = [WITH_NODE, "sh", "-c", start, "sh", app]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        url = next(m[0] for line in server.stdout if (m := re.search(r"http://localhost:\d+/", plain(line))))
        for _ in range(3):  # it reloads the page once it has found what to prepare
            with contextlib.suppress(Error):
                npm_app.open_and_use(page, url)
                break
        npm_app.check(npm_app.open_and_use(page, url))
    finally:
        server.terminate()
        server.wait(60)


def plain(line: str) -> str:
    """Without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


@pytest.mark.whole
def test_the_types_are_good_for_every_typescript_that_knows_generic_arrays(
    packages: Packages, tmp_path: Path
) -> None:
    """5.7 and later, with their own DOM types alone."""
    tools = [f"typescript-{version}@npm:typescript@~{version}.0" for version in TYPESCRIPTS]
    (tmp_path / "package.json").write_text('{"type": "module"}')
    npm("npm", "install", "--no-audit", "--no-fund", packages.npm, *tools, cwd=tmp_path)
    (tmp_path / "all.ts").write_text(importing_all(tmp_path))
    strict = ("--noEmit", "--strict", "--skipLibCheck", "false", "--target", "es2022", "--lib", "es2022,dom")
    for version in TYPESCRIPTS:
        tsc = tmp_path / "node_modules" / f"typescript-{version}" / "bin" / "tsc"
        for resolution in (("--module", "esnext", "--moduleResolution", "bundler"), ("--module", "nodenext")):
            npm("node", tsc, *strict, *resolution, "all.ts", cwd=tmp_path)


@pytest.mark.whole
def test_publint_and_are_the_types_wrong_find_nothing(packages: Packages, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    npm("npm", "install", "--no-audit", "--no-fund", *LINTERS, cwd=tmp_path)
    npm("npx", "--no-install", "publint", "--strict", packages.npm, cwd=tmp_path)
    # what resolves packages as Node 10 did, or by require(), has no ES modules
    npm("npx", "--no-install", "attw", packages.npm, "--profile", "esm-only", cwd=tmp_path)
