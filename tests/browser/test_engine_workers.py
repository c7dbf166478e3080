"""An engine in each kind of worker of a real browser: answers, several pages on one model, and workers that end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error, Playwright
from playwright.sync_api import Page as RawPage

from mlcweb.browser.driver import driver
from mlcweb.browser.page import FLAGS, Page, open_page
from tests.support.browser.mini_bundle import Mini, chat_tokens
from tests.support.browser.model_page import Site, serve_site
from tests.support.engine import ENGINE, needs_engine

pytestmark = needs_engine

# An answer that goes on to the end of the context: it is still under way when its worker is ended.
MODEL = Mini(ends=False)
ANSWER = bytes(MODEL.answer(chat_tokens(("user", "hello")))).decode()

PAGE = """<!doctype html><title>workers</title><link rel="icon" href="data:,">
<script type="module" src="page.js"></script>"""
SCRIPT = """
import { WorkerEngine } from "./worker.js";
import { WorkerError } from "./mlcweb.js";
const request = { messages: [{ role: "user", content: "hello" }], temperature: 0 };
const workers = {
  dedicated: () => new Worker("./dedicated_worker.js", { type: "module" }),
  blob() {
    const code = `import { serveEngine } from "${new URL("./serve.js", location)}"; serveEngine();`;
    return new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), { type: "module" });
  },
  missing: () => new Worker("./nowhere.js", { type: "module" }),
  shared: () => new SharedWorker("./dedicated_worker.js", { type: "module" }),
  extension: () => () => chrome.runtime.connect({ name: "mlcweb" }),
  async service() {
    await navigator.serviceWorker.register("./service_worker.js", { type: "module" });
    return navigator.serviceWorker;
  },
};
const seen = error => ({ error: error.code ?? String(error), message: error.message,
  ours: error instanceof WorkerError });
const guarded = async run => { try { return await run(); } catch (error) { return seen(error); } };
Object.assign(window, {
  load: kind => guarded(async () => {
    const stages = new Set();
    window.worker = await workers[kind](); // a function makes a port anew
    window.engine = await WorkerEngine.load(window.worker, "./mini/", { onProgress: p => stages.add(p.stage) });
    return { tier: engine.info.tier, stages: [...stages], total_s: engine.info.timings.total_s };
  }),
  total: () => engine.info.timings.total_s,
  ask: more => guarded(async () => (await engine.chat.completions.create({ ...request, ...more })).choices[0].message
    .content),
  unload: () => guarded(() => engine.unload()),
  /** A stream of which so many chunks were read; `rest` reads on. */
  begin: count => guarded(async () => {
    window.text = "";
    window.chunks = (await engine.chat.completions.create({ ...request, stream: true }))[Symbol.asyncIterator]();
    for (let i = 0; i < count; i++) window.text += (await chunks.next()).value.choices[0].delta.content;
  }),
  rest: () => guarded(async () => {
    for (let next = await chunks.next(); !next.done; next = await chunks.next())
      window.text += next.value.choices[0].delta.content ?? "";
    return window.text;
  }),
  /** Milliseconds until both calls that are under way have failed, and how. */
  terminate: () => guarded(async () => {
    const waiting = ask({});
    const start = performance.now();
    window.worker.terminate();
    const failed = [await rest(), await waiting, await ask({})];
    return { failed, ms: performance.now() - start };
  }),
});
window.ready = true;
"""

EXTENSION = {
    "manifest_version": 3,
    "name": "mlcweb",
    "version": "1",
    "background": {"service_worker": "service_worker.js", "type": "module"},
    "content_security_policy": {"extension_pages": "script-src 'self' 'wasm-unsafe-eval'"},
}


class Workers:
    """Pages in one browser, with an engine in a worker each."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.url = f"{site.url}workers.html"

    def open(self) -> RawPage:
        raw = self.page.context.new_page()
        raw.goto(self.url)
        raw.wait_for_function("window.ready")
        return raw


def stop_service_workers(raw: RawPage) -> None:
    """As the browser does to those that are idle."""
    session = raw.context.new_cdp_session(raw)
    session.send("ServiceWorker.enable")
    session.send("ServiceWorker.stopAllWorkers")
    session.detach()


def write_page(folder: Path) -> None:
    """The page, its script, and those of its workers."""
    (folder / "workers.html").write_text(PAGE)
    (folder / "page.js").write_text(SCRIPT)
    for name, script in (("dedicated_worker", "serve"), ("service_worker", "serve-service")):
        (folder / f"{name}.js").write_text(
            f'import {{ serveEngine }} from "./{script}.js";\nserveEngine();\n'
        )


@pytest.fixture(scope="module")
def workers(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("workers")
    with serve_site(folder) as site, open_page(chromium, hold_signals=False) as page:
        MODEL.write(folder / "mini")
        write_page(folder)
        yield Workers(page, site)


def call(raw: RawPage, expression: str) -> Any:
    """The expression's value; fails after a minute."""
    script = f"""() => Promise.race([{expression},
      new Promise((_, reject) => setTimeout(() => reject(new Error("hangs")), 60000))])"""
    return raw.evaluate(script)


def load(raw: RawPage, kind: str) -> dict[str, Any]:
    loaded: dict[str, Any] = call(raw, f"load('{kind}')")
    if loaded.get("error") == "no-webgpu":
        pytest.skip(f"a {kind} worker of this browser has no WebGPU: {loaded['message']}")
    assert loaded.get("tier") == "base", loaded
    return loaded


REGEX = "ask({ response_format: { type: 'regex', regex: '[0-9]{3}' } })"


@pytest.mark.parametrize("kind", ["dedicated", "blob"])
def test_a_dedicated_worker_answers_and_its_end_is_noticed(workers: Workers, kind: str) -> None:
    raw = workers.open()
    loaded = load(raw, kind)
    assert loaded["stages"][0] == "manifest"
    assert loaded["stages"][-1] == "ready"
    assert call(raw, "ask({})") == ANSWER
    if kind == "dedicated":
        assert call(raw, REGEX).isdecimal()  # its code is fetched by the worker
    call(raw, "begin(3)")
    ended = call(raw, "terminate()")
    assert [(failed["error"], failed["ours"]) for failed in ended["failed"]] == [("worker", True)] * 3
    assert ended["ms"] < 5000
    raw.close()


def test_a_script_that_is_not_there_is_said_at_once(workers: Workers) -> None:
    raw = workers.open()
    assert "cannot be loaded" in call(raw, "load('missing')")["message"]
    raw.close()


def test_pages_share_a_model_and_close_without_a_word(workers: Workers) -> None:
    one, two = workers.open(), workers.open()
    first = load(one, "shared")
    assert load(two, "shared")["total_s"] == first["total_s"]  # it is the same engine
    call(one, "begin(3)")
    two.evaluate("() => { window.waiting = ask({}); }")
    one.close(run_before_unload=False)
    assert call(two, "waiting") == ANSWER
    assert call(two, REGEX).isdecimal()
    # The last one leaves, and the next has a model of its own.
    call(two, "unload()")
    assert load(two, "shared")["total_s"] != first["total_s"]
    assert call(two, "ask({})") == ANSWER
    two.close()


def test_a_service_worker_that_ended_comes_back(workers: Workers) -> None:
    raw = workers.open()
    first = load(raw, "service")
    assert call(raw, "ask({})") == ANSWER
    assert call(raw, REGEX).isdecimal()
    stop_service_workers(raw)
    assert call(raw, "ask({})") == ANSWER
    assert call(raw, "total()") != first["total_s"]  # it has loaded again
    # A stream that had not begun goes on elsewhere; one under way ends with an error.
    call(raw, "begin(0)")
    stop_service_workers(raw)
    assert call(raw, "rest()") == ANSWER
    call(raw, "begin(3)")
    stop_service_workers(raw)
    assert call(raw, "rest()")["error"] == "worker"
    assert call(raw, "ask({})") == ANSWER
    raw.close()


@contextmanager
def open_extension(chromium: Path, folder: Path) -> Iterator[RawPage]:
    """A page of the extension in a folder. Skips where the browser takes none from its command line."""
    with driver() as playwright:
        context = launch_with(playwright, chromium, folder)
        try:
            worker = (context.service_workers or [context.wait_for_event("serviceworker", timeout=10_000)])[0]
        except Error:
            pytest.skip("this browser loads no extension from its command line")
        raw = context.new_page()
        raw.goto(worker.url.replace("service_worker.js", "workers.html"))
        raw.wait_for_function("window.ready")
        yield raw
        context.close()


def launch_with(playwright: Playwright, chromium: Path, extension: Path) -> BrowserContext:
    return playwright.chromium.launch_persistent_context(
        "",
        executable_path=chromium,
        headless=True,
        chromium_sandbox=False,
        ignore_default_args=["--disable-extensions"],
        args=[*FLAGS, f"--disable-extensions-except={extension}", f"--load-extension={extension}"],
    )


def test_an_extension_serves_its_pages(chromium: Path, tmp_path: Path) -> None:
    for script in ENGINE.glob("*.js"):
        shutil.copy(script, tmp_path)
    MODEL.write(tmp_path / "mini")
    write_page(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(EXTENSION))
    with open_extension(chromium, tmp_path) as raw:
        load(raw, "extension")
        call(raw, "begin(3)")
        assert call(raw, "rest()") == ANSWER
        assert call(raw, REGEX).isdecimal()
        assert call(raw, "engine.logits([1, 2, 3]).then(logits => logits instanceof Float32Array)")
        stop_service_workers(raw)
        assert call(raw, "ask({})") == ANSWER
