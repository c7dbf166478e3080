"""nginx and Caddy with the text of docs/hosts.md: nothing is to be mended, and the engine loads across origins."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Page

from mlcweb.browser.page import open_page
from mlcweb.cli.command import run
from mlcweb.hosting import check_host
from tests.support.browser.mini_bundle import Mini
from tests.support.browser.model_page import serve_site
from tests.support.engine import needs_engine
from tests.support.web_servers import documented_caddy, documented_nginx

pytestmark = needs_engine

TOKENS = [5, 6, 7]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a published bundle, ``mini``."""
    folder = tmp_path_factory.mktemp("hosts")
    assert run(["publish", str(Mini().write(folder / "mini")), str(folder / "models")]) == 0
    return folder / "models"


@pytest.fixture(scope="module")
def page(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The harness, on an origin of its own; the browser trusts every certificate."""
    with (
        serve_site(tmp_path_factory.mktemp("site")) as site,
        open_page(chromium, hold_signals=False, flags=["--ignore-certificate-errors"]) as opened,
    ):
        opened.open(f"{site.url}harness.html", ready="() => Boolean(window.mlcweb)")
        yield opened.raw


@pytest.fixture(params=["nginx", "caddy"])
def host(
    request: pytest.FixtureRequest, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Where a documented host serves the models; this process trusts it."""
    program = request.getfixturevalue(request.param)
    if request.param == "nginx":
        server = documented_nginx(program, tmp_path, "nginx", {"/srv/models": str(models)})
    else:
        server = documented_caddy(program, tmp_path, models)
    with server as (url, authority):
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        yield url


def test_nothing_is_to_be_mended_and_the_engine_loads(host: str, models: Path, page: Page) -> None:
    assert check_host(f"{host}/mini") == []
    names = json.loads((models / "mini" / "mlcweb.json").read_text())["files"]
    tokenizer = next(name for name in names if name.startswith("tokenizer."))
    kernels, weights = (next(name for name in names if name.endswith(end)) for end in (".wgsl", ".bin"))
    with asked(f"{host}/mini/{kernels}") as answer:
        assert answer.headers["Content-Type"] == "text/wgsl"
    best = "br" if "nginx" in answer.headers["Server"] else "zstd"
    for name, encoding in (("mlcweb.json", best), (tokenizer, best), (kernels, best), (weights, None)):
        with asked(f"{host}/mini/{name}", {"Accept-Encoding": f"gzip, {best}"}) as answer:
            assert answer.headers["Content-Encoding"] == encoding, name
    with pytest.raises(HTTPError, match="404") as missing:
        asked(f"{host}/mini/weights-000.00000000.bin")
    assert missing.value.headers["Access-Control-Allow-Origin"] == "*"
    assert "immutable" not in (missing.value.headers["Cache-Control"] or "")

    loaded = page.evaluate("url => window.mlcweb.load(url)", f"{host}/mini/")
    assert loaded["info"]["name"] == "mini" and loaded["warnings"] == []
    assert page.evaluate("tokens => window.mlcweb.greedy(tokens, 4)", TOKENS) == {
        "tokens": Mini().greedy(TOKENS, 4)
    }
    missing_bundle = page.evaluate("url => window.mlcweb.load(url)", f"{host}/nothing/")["error"]
    assert missing_bundle["code"] == "bundle" and "404" in missing_bundle["message"]


def asked(url: str, headers: dict[str, str] | None = None) -> Any:
    return urlopen(Request(url, headers=headers or {}), context=ssl.create_default_context(), timeout=60)
