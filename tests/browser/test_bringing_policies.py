"""Workers that bring weights to a page whose engine lies on another origin, and to one whose policy admits none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcweb.browser.page import open_page
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import Mini
from tests.support.browser.policed_site import hash_of, serve_policed
from tests.support.engine import ENGINE, needs_engine

pytestmark = needs_engine

SCRIPT = """
import {{ Engine }} from "{cdn}mlcweb.js";
window.load = async () => {{
  const engine = await Engine.load("{cdn}", {{ onWarning: (warning) => {{ throw new Error(warning.message); }} }});
  const tokens = await engine.greedy([5, 6, 7], 4);
  await engine.unload();
  const root = await navigator.storage.getDirectory();
  let files = 0;
  for await (const folder of root.values()) for await (const inner of folder.values())
    for await (const _ of inner.values()) files++;
  const keys = await (await caches.open("mlcweb-v1")).keys();
  return {{ tokens, files, cached: keys.filter(({{ url }}) => url.includes("weights-")).length }};
}};
"""


@pytest.fixture(scope="module")
def cdn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    """The engine and a bundle in one folder, which every origin may read."""
    folder = Mini().write(tmp_path_factory.mktemp("cdn"))
    for file in ENGINE.iterdir():
        (folder / file.name).symlink_to(file)
    with EngineServer(ENGINE, folder) as running:
        running.origins = "*"
        yield running


@pytest.mark.parametrize(("workers", "brought"), [("blob:", True), ("'self'", False), ("'none'", False)])
def test_an_engine_of_another_origin(
    workers: str, brought: bool, cdn: EngineServer, chromium: Path, tmp_path: Path
) -> None:
    script = SCRIPT.format(cdn=f"{cdn.url}bundle/")
    (tmp_path / "index.html").write_text(f"<!doctype html><script type=module>{script}</script>")
    policy = (
        f"default-src 'none'; script-src {hash_of(script)} {cdn.url} 'wasm-unsafe-eval'; connect-src {cdn.url}; "
        f"worker-src {workers}"
    )
    with serve_policed(tmp_path, policy) as site, open_page(chromium, hold_signals=False) as page:
        errors: list[str] = []
        page.raw.on("pageerror", lambda error: errors.append(str(error)))
        page.open(f"{site.url}index.html", ready="() => Boolean(window.load)")
        first, again = (page.raw.evaluate("() => window.load()") for _ in range(2))
    assert first["tokens"] == again["tokens"] == Mini().greedy([5, 6, 7], 4)
    chunks = sum(name.startswith("weights-") for name in cdn.hits)
    kept = (chunks, 0) if brought else (0, chunks)
    assert (first["files"], first["cached"]) == (again["files"], again["cached"]) == kept
    assert errors == []
