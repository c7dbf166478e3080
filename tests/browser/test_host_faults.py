"""Hosts that do one thing wrong, met by the engine in Chromium from another origin, and by check-host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlcweb.browser.page import open_page
from mlcweb.hosting import check_host
from tests.support.browser.mini_bundle import Mini
from tests.support.browser.model_page import serve_site
from tests.support.engine import needs_engine
from tests.support.faulty_host import FAULTS, KINDS, faulty_host

pytestmark = needs_engine

# One page loads all bundles, a few at a time.
LOADS = """async ([engine, host, left]) => {
  const { Engine } = await import(engine);
  const met = {};
  const work = async () => {
    for (let one; (one = left.pop()); ) {
      met[one] = await Engine.load(`${host}${one}/`, { cache: false }).then(
        async (loaded) => { await loaded.unload(); return { code: "loaded", message: "", hint: "" }; },
        (error) => error.toJSON?.() ?? { code: "internal", message: String(error.stack), hint: "" },
      );
    }
  };
  await Promise.all(Array.from({ length: 24 }, work));
  return met;
}"""

# By fault: the error's code, what its message and its hint say, and what check-host finds.
SAID: dict[str, tuple[str, str, str, str]] = {
    "gone": ("bundle", "404", "", "status"),
    "page": ("web-page", 'text/html, beginning "<!doctype html>', "answer 404", "page"),
    "short": ("integrity", "of the", "purge the CDN", "bytes"),
    "cut": ("network", "the connection broke after", "Content-Length", "length"),
    "cut-chunks": ("network", "the connection broke after", "Content-Length", "length"),
    "gzip-twice": ("integrity", "came compressed: it is still gzip", "compresses it twice", "encoding"),
    "gzip-unsaid": ("integrity", "came compressed: it is still gzip", "Content-Encoding: gzip", "encoding"),
    "gzip-false": ("network", "", "Content-Encoding", "encoding"),
}
# Vitest has every fault for every kind (runtime-js/test/host_faults.test.ts).
CASES = [
    (fault, kind)
    for fault in FAULTS
    for kind in KINDS
    if kind in ("manifest", "weights") or fault in ("page", "gzip-unsaid")
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Mini().write(tmp_path_factory.mktemp("faults") / "mini")


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[str]:
    with faulty_host(bundle) as url:
        yield url


@pytest.fixture(scope="module")
def met(host: str, chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the engine said of each fault in each kind of file."""
    with (
        serve_site(tmp_path_factory.mktemp("site")) as site,
        open_page(chromium, hold_signals=False) as opened,
    ):
        opened.open(f"{site.url}harness.html")
        yield opened.raw.evaluate(LOADS, [f"{site.url}mlcweb.js", host, ["/".join(case) for case in CASES]])


@pytest.mark.parametrize(("fault", "kind"), CASES)
def test_the_engine_and_check_host_say_which_file_and_what_is_wrong(
    fault: str, kind: str, met: dict[str, Any], host: str, bundle: Path
) -> None:
    code, message, hint, about = SAID[fault]
    error = met[f"{fault}/{kind}"]
    if (fault, kind) == ("short", "manifest"):  # whose length nothing tells
        code, message, hint, about = "bundle", "is cut off or damaged", "check-host", "manifest"
    elif (fault, kind) == ("short", "weights"):
        about = "length"
    elif fault == "gone" and kind != "manifest":
        hint = "a CDN keeps an old mlcweb.json"
    assert error["code"] == code and message in error["message"] and hint in error["hint"], error
    files = [file.name for file in bundle.iterdir() if file.name.startswith(KINDS[kind])]
    assert any(file in error["message"] for file in files), error

    found = [f for f in check_host(f"{host}{fault}/{kind}") if f.level == "error"]
    assert {f.about for f in found} == {about} and {f.file for f in found} <= set(files), found
