"""Pages that sleep: frozen ones, and those that are left and come back out of the browser's back/forward cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlcweb.browser.driver import driver
from mlcweb.browser.page import FLAGS
from tests.support.browser.mini_bundle import Mini
from tests.support.browser.model_page import Site, serve_site
from tests.support.engine import needs_engine

pytestmark = needs_engine

PROMPT = [5, 6, 7]
COUNT = 90
ANSWER = {"tokens": Mini().greedy(PROMPT, COUNT)}
PERSISTED = "window.seen = []; for (const name of ['pagehide', 'pageshow'])" + (
    "addEventListener(name, event => seen.push([name, event.persisted]));"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve_site(tmp_path_factory.mktemp("site")) as running:
        Mini().write(running.folder / "bundle")
        script = 'import { serveEngine } from "./serve.js"; serveEngine();'
        (running.folder / "engine_worker.js").write_text(script)
        yield running


@pytest.fixture
def raw(chromium: Path, site: Site, tmp_path: Path) -> Iterator[Any]:
    """A page with a model, in a browser that keeps pages which are left: playwright turns that off otherwise."""
    with driver() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=chromium,
            chromium_sandbox=False,
            args=list(FLAGS),
            ignore_default_args=["--disable-back-forward-cache"],
        )
        page = context.pages[0]
        page.add_init_script(PERSISTED)
        page.goto(f"{site.url}harness.html")
        page.wait_for_function("() => Boolean(window.mlcweb)")
        assert "error" not in page.evaluate("mlcweb.load('./bundle/', { cache: false })")
        yield page
        context.close()


def sleep_and_wake(page: Any, site: Site, how: str) -> None:
    if how == "frozen":
        session = page.context.new_cdp_session(page)
        session.send("Page.setWebLifecycleState", {"state": "frozen"})
        page.wait_for_timeout(500)
        session.send("Page.setWebLifecycleState", {"state": "active"})
        session.detach()
        return
    page.goto(f"{site.url}search.html")
    page.wait_for_timeout(500)
    page.go_back(wait_until="commit")
    page.wait_for_function("() => window.seen?.length === 3")
    assert page.evaluate("seen") == [["pageshow", False], ["pagehide", True], ["pageshow", True]]


@pytest.mark.parametrize("how", ["frozen", "left"])
def test_a_page_that_sleeps_goes_on(how: str, raw: Any, site: Site) -> None:
    """While nothing is asked, in an answer, and in a load."""
    sleep_and_wake(raw, site, how)
    asking = f"mlcweb.greedy({PROMPT}, {COUNT})"
    assert raw.evaluate(asking) == ANSWER
    raw.evaluate(f"seen.length = 1, void (window.under = mlcweb.reset().then(() => {asking}))")
    sleep_and_wake(raw, site, how)
    assert raw.evaluate("under") == ANSWER
    loading = f"mlcweb.load('./bundle/', {{ cache: false }}).then(() => {asking})"
    raw.evaluate(f"seen.length = 1, void (window.under = {loading})")
    if how == "frozen":  # a page with a download under way is not kept
        sleep_and_wake(raw, site, how)
    assert raw.evaluate("under") == ANSWER
    assert raw.evaluate("mlcweb.warnings()") == {"warnings": []}


WORKER = """async () => {
  const { WorkerEngine } = await import('./worker.js');
  const worker = new Worker('./engine_worker.js', { type: 'module' });
  window.engine = await WorkerEngine.load(worker, './bundle/', { cache: false });
}"""


@pytest.mark.parametrize("how", ["frozen", "left"])
def test_a_page_whose_engine_is_in_a_worker_goes_on(how: str, raw: Any, site: Site) -> None:
    raw.evaluate(WORKER)
    asking = f"engine.greedy({PROMPT}, {COUNT}).then(tokens => ({{ tokens }}))"
    for _ in range(2):
        raw.evaluate(f"seen.length = 1, void (window.under = engine.reset().then(() => {asking}))")
        sleep_and_wake(raw, site, how)
        assert raw.evaluate("under") == ANSWER
        assert raw.evaluate(asking) == ANSWER
