"""The doors to the engine in real Chromium, on files as they are published and under a strict policy, with the clients
that pages use: OpenAI's own and the AI SDK.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from mlcweb.browser.page import open_page
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import Mini, chat_tokens
from tests.support.engine import needs_engine

pytestmark = needs_engine

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "runtime-js" / "dist"
POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"
HTML = (
    f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    '<script type="module" src="./page.js"></script>'
)
HELLO = chat_tokens(("user", "hello"))


def text_of(tokens: list[int]) -> str:
    return bytes(Mini().answer(tokens)).decode()


def make_site(folder: Path) -> None:
    """The published files, and a page that is bundled around them."""
    for file in DIST.glob("*.js"):
        (folder / file.name).symlink_to(file)
    script = ROOT / "tests" / "support" / "browser" / "doors_page.mjs"
    options = ["--bundle", "--format=esm", "--target=es2022", "--log-level=error"]
    options += [f"--external:./{name}.js" for name in ("mlcweb", "openai", "ai-sdk", "prompt-api")]
    esbuild = ROOT / "runtime-js" / "node_modules" / ".bin" / "esbuild"
    subprocess.run(
        [ROOT / "scripts" / "with-node.sh", esbuild, script, f"--outfile={folder / 'page.js'}", *options],
        env={**os.environ, "NODE_PATH": str(ROOT / "runtime-js" / "node_modules")},
        check=True,
    )
    (folder / "index.html").write_text(HTML)


@pytest.fixture(scope="module")
def page(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    site = tmp_path_factory.mktemp("site")
    make_site(site)
    bundle = Mini().write(tmp_path_factory.mktemp("mini"))
    with EngineServer(site, bundle) as server, open_page(chromium, hold_signals=False) as page:
        page.open(f"{server.url}index.html", ready="() => Boolean(window.doors)")
        yield page.raw


def call(page: Page, door: str) -> Any:
    return page.evaluate("door => window.doors[door]()", door)


def test_openais_client_and_the_ai_sdk(page: Page) -> None:
    answer = text_of(HELLO)
    assert call(page, "openai") == {
        "whole": answer,
        "streamed": answer,
        "status": 400,
        "param": "temperature",
    }
    assert call(page, "aiSdk") == {"text": answer, "finishReason": "stop", "streamed": answer}


def test_the_prompt_api(page: Page) -> None:
    said = call(page, "promptApi")
    answer = text_of(HELLO)
    more = chat_tokens(("user", "hello"), ("assistant", answer), ("user", "more"))
    assert re.fullmatch("[0-9]{3}", said.pop("constrained"))
    assert said == {
        "before": "downloadable",
        "after": "available",
        "kept": "available",
        "progress": [0, 1],
        "answer": answer,
        "usage": len(HELLO) + len(answer),
        "second": text_of(more),
        "streamed": answer,
        "begun": text_of([*HELLO, *b"ab"]),
        "late": "InvalidStateError",
    }
