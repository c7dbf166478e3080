"""Engine.check, and what a load refuses before it downloads, in pages that lack one thing each."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlcweb.browser.page import open_page
from mlcweb.bundle import open_bundle
from mlcweb.bundle.inspect import gpu_memory
from mlcweb.compile import CompileRequest, compile_bundle
from tests.support.browser.mini_bundle import Mini
from tests.support.engine import ENGINE, needs_engine
from tests.support.tiny import TinyLlama, make_llama

pytestmark = needs_engine

CONTEXT, FIRST = 200, 64
# Beside what Engine.check says, what Engine.load does: the code of its error, or "loaded".
ASK = """async ([engine, url, options]) => {
  const { Engine } = await import(engine);
  const json = (error) => error.toJSON?.() ?? { code: "internal", message: String(error.stack) };
  const check = await Engine.check(url, options).catch((error) => ({ error: json(error) }));
  const warnings = [];
  const load = await Engine.load(url, { ...options, onWarning: ({ code }) => warnings.push(code) }).then(
    async (engine) => {
      const { tier, memory } = engine.info;
      await engine.unload();
      return { code: "loaded", tier, memory };
    },
    (error) => ({ ...json(error), directive: error.directive }),
  );
  return { check, load: { ...load, warnings } };
}"""
FORGET = """async ([engine, ...urls]) => {
  const { deleteFromCache } = await import(engine);
  for (const url of urls) await deleteFromCache(url);
}"""
# A page whose only script is this, for frames and policies.
PAGE = """<!doctype html><title>check</title><link rel="icon" href="data:,">"""
FRAME = """([page, sandbox, ask, args]) => new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error("the frame says nothing")), 300000);
  addEventListener("message", ({ data }) => resolve(data), { once: true });
  const frame = document.createElement("iframe");
  frame.sandbox = sandbox;
  frame.srcdoc = `${page}<script type="module">
    parent.postMessage(await (${ask})(${JSON.stringify(args)}), "*");</` + "script>";
  document.body.append(frame);
})"""


@dataclass
class Host:
    """The engine and a bundle, and which of the bundle's files were asked for."""

    url: str
    folder: Path
    asked: list[str] = field(default_factory=list)
    policy: str = ""

    @property
    def bundle(self) -> str:
        """Compiled."""
        return f"{self.url}bundle/"

    @property
    def mini(self) -> str:
        """Made by hand, and quick to load."""
        return f"{self.url}mini/"

    @property
    def weights(self) -> list[str]:
        """The weight chunks that were asked for."""
        return [name for name in self.asked if name.startswith("weights")]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("checked")
    for file in ENGINE.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "empty.html").write_text(PAGE)
    Mini().write(folder / "mini")
    model = make_llama(folder.with_name(f"{folder.name}-model"), TinyLlama(context=512, layers=2))
    compile_bundle(CompileRequest(str(model), "q4f32_1", folder / "bundle", evaluate=False))

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            if self.path.startswith(("/bundle/", "/mini/")):
                host.asked.append(self.path.rsplit("/", 1)[1])

        def end_headers(self) -> None:
            self.send_header("Access-Control-Allow-Origin", "*")  # a sandboxed frame's origin is null
            self.send_header("Cache-Control", "no-store")  # with the policy of another test
            if host.policy:
                self.send_header("Content-Security-Policy", host.policy)
            super().end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.daemon_threads = True
    host = Host(f"http://localhost:{server.server_port}/", folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield host
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def host(serving: Host) -> Host:
    serving.asked.clear()
    serving.policy = ""
    return serving


@pytest.fixture(scope="module")
def page(chromium: Path) -> Iterator[Any]:
    with open_page(chromium, hold_signals=False) as opened:
        yield opened.raw


def ask(page: Any, host: Host, script: str = "", **options: Any) -> dict[str, Any]:
    """What a fresh page says; ``script`` runs before its own."""
    tab = page.context.new_page()
    try:
        if script:
            tab.add_init_script(script)
        tab.goto(f"{host.url}empty.html")
        tab.evaluate(FORGET, [f"{host.url}mlcweb.js", host.bundle, host.mini])
        found = tab.evaluate(ASK, [f"{host.url}mlcweb.js", host.mini, options])
        assert isinstance(found, dict) and "error" not in found["check"], found
        return found
    finally:
        tab.close()


@pytest.mark.parametrize("tier", ["software", "wasm"])
def test_it_tells_what_the_load_then_does(tier: str, page: Any, host: Host) -> None:
    tab = page.context.new_page()
    tab.goto(f"{host.url}empty.html")
    tab.evaluate(FORGET, [f"{host.url}mlcweb.js", host.bundle, host.mini])
    options = {"tier": tier, "contextLength": CONTEXT, "firstTokens": FIRST}
    engine = f"{host.url}mlcweb.js"
    check = "async ([engine, url, options]) => (await import(engine)).Engine.check(url, options)"
    before = tab.evaluate(check, [engine, host.bundle, options])
    assert host.asked == ["mlcweb.json"]
    assert tab.evaluate("async (url) => !(await caches.match(url))", f"{host.bundle}mlcweb.json")
    load = tab.evaluate(ASK, [engine, host.bundle, options])["load"]
    after = tab.evaluate(check, [engine, host.bundle, options])
    tab.close()

    assert load["code"] == "loaded", load
    assert before["runs"] and before["reasons"] == [] and before["tier"] == load["tier"] == tier
    bundle = open_bundle(host.folder / "bundle")
    row = gpu_memory(bundle.plan(tier), CONTEXT, bundle.manifest.model.page_size)
    told, memory = before["memory"], load["memory"]
    uniform = 0 if tier == "wasm" else row["uniform"]  # with the prefill that has most launches
    assert told["total"] == row["total"] - row["uniform"] + uniform
    assert (told["weights"], told["kv"]) == (row["weight"], row["kv"])
    at_load = memory["total"] - memory["staging"] - memory["uniform"] + uniform
    assert (
        0 <= told["atLoad"] - at_load <= (64 if tier == "wasm" else 0)
    )  # a GPU's smallest buffers have 16 bytes
    assert (told["atLoad"] == told["total"]) == (tier == "wasm")  # whose KV cache does not grow

    files = bundle.manifest.files
    sizes = {name: files[name].bytes for name in set(host.asked) & set(files)}
    total = sum(size for name, size in sizes.items() if name != bundle.manifest.validation)
    assert before["download"] == {"total": total, "kept": 0, "fetch": total}
    assert after["download"] == {"total": total, "kept": total, "fetch": 0}
    assert before["storage"]["left"] > total and before["warnings"] == []
    adapter = before["adapter"]
    assert (adapter is None) == (tier == "wasm") and before["noWebGPU"] is None
    assert (before["speed"]["tokensPerSecond"] is None) == (adapter is None or adapter["software"])


def test_a_policy_without_wasm_is_named_before_weights_are_fetched(page: Any, host: Host) -> None:
    host.policy = "script-src 'self'"
    found = ask(page, host)
    (reason,) = found["check"]["reasons"]
    assert reason["code"] == "no-wasm" and "script-src 'wasm-unsafe-eval'" in reason["message"]
    load = found["load"]
    assert (load["code"], load["message"]) == (reason["code"], reason["message"])
    assert load["directive"] == "script-src 'wasm-unsafe-eval'" and set(host.asked) == {"mlcweb.json"}
    host.policy = "script-src 'self' 'wasm-unsafe-eval'"
    assert ask(page, host)["check"]["runs"]


@pytest.mark.parametrize("sandbox", ["allow-scripts", "allow-scripts allow-same-origin"])
def test_a_sandboxed_frame(page: Any, host: Host, sandbox: str) -> None:
    """Of an origin of its own it may keep nothing, and runs the model all the same."""
    tab = page.context.new_page()
    tab.goto(f"{host.url}empty.html")
    tab.evaluate(FORGET, [f"{host.url}mlcweb.js", host.bundle, host.mini])
    args = [f"{host.url}mlcweb.js", host.mini, {"contextLength": 64}]
    found = tab.evaluate(FRAME, [PAGE, sandbox, ASK, args])
    tab.close()
    check, load = found["check"], found["load"]
    assert "error" not in check and check["runs"] and load["code"] == "loaded", found
    blocked = "allow-same-origin" not in sandbox
    assert (check["storage"]["quota"] is None) == blocked
    codes = [warning["code"] for warning in check["warnings"]]
    assert codes == load["warnings"] == (["storage-full"] if blocked else [])


def test_blocked_storage_is_told_and_stops_nothing(page: Any, host: Host) -> None:
    """As where a browser's settings block a site's data: the Cache API and the estimate refuse."""
    blocked = """
      const refuse = async () => { throw new DOMException("blocked", "SecurityError"); };
      CacheStorage.prototype.open = StorageManager.prototype.estimate = StorageManager.prototype.persisted = refuse;"""
    found = ask(page, host, blocked, contextLength=64)
    assert found["check"]["runs"] and found["load"]["code"] == "loaded"
    assert found["check"]["storage"] == {"quota": None, "used": None, "left": None, "persisted": None}
    assert [warning["code"] for warning in found["check"]["warnings"]] == ["storage-full"]
    assert found["load"]["warnings"] == ["storage-full"]


def test_a_small_quota_is_warned_of_and_stops_nothing(page: Any, host: Host) -> None:
    """Chromium's own quota of this origin, as a private window has it."""
    tab = page.context.new_page()
    tab.goto(f"{host.url}empty.html")
    tab.evaluate(FORGET, [f"{host.url}mlcweb.js", host.bundle, host.mini])
    session = tab.context.new_cdp_session(tab)
    origin = host.url.rstrip("/")
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": 5000})
    # Chromium 156 tells 10 GiB all the same, to hide who is in a private window; other browsers tell their quota.
    tab.evaluate("() => { StorageManager.prototype.estimate = async () => ({ quota: 5000, usage: 10 }); }")
    found = tab.evaluate(ASK, [f"{host.url}mlcweb.js", host.mini, {"contextLength": 64}])
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin})
    tab.close()
    check, load = found["check"], found["load"]
    assert check["runs"] and load["code"] == "loaded"
    assert (check["storage"]["quota"], check["storage"]["left"]) == (5000, 4990)
    assert check["download"]["fetch"] > 5000
    assert [warning["code"] for warning in check["warnings"]] == ["storage-small"]
    assert sorted(load["warnings"]) == ["storage-full", "storage-small"]


LARGE = 1 << 33


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ("Object.defineProperty(navigator, 'gpu', { value: undefined })", "no-webgpu", "no WebGPU"),
        ("GPU.prototype.requestAdapter = async () => null", "no-webgpu", "no GPU adapter"),
        (
            "GPUAdapter.prototype.requestDevice = async () => { throw new DOMException('taken', 'OperationError'); }",
            "no-webgpu",
            "could not be opened: taken",
        ),
        (
            # every buffer is larger than the GPU has
            "const create = GPUDevice.prototype.createBuffer; GPUDevice.prototype.createBuffer = function (d) {"
            "  return create.call(this, { ...d, size: 2 ** 40 }); }",
            "gpu",
            "The GPU refused a buffer",
        ),
    ],
)
def test_what_does_not_run_is_refused_before_weights_are_fetched(
    page: Any, host: Host, script: str, code: str, says: str
) -> None:
    found = ask(page, host, script)
    check, load = found["check"], found["load"]
    assert not check["runs"] and check["reasons"][0]["code"] == load["code"] == code
    assert says in check["reasons"][0]["message"] and says in load["message"]
    assert host.weights == []


def test_an_adapter_that_lies_is_found_out(page: Any, host: Host) -> None:
    """It says that it has a feature and a limit, which its device then has not."""
    lie = f"""
      const limits = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, "limits").get;
      Object.defineProperty(GPUAdapter.prototype, "limits", {{
        get() {{ return new Proxy(limits.call(this), {{
          get: (of, name) => (name === "maxBufferSize" ? {LARGE} : of[name]),
        }}); }},
      }});"""
    manifest = host.folder / "mini" / "mlcweb.json"
    text = manifest.read_text()
    try:
        document = json.loads(text)
        for tier in document["tiers"]:
            tier["limits"] = {"maxBufferSize": LARGE - 4}
        manifest.write_text(json.dumps(document))
        found = ask(page, host, lie)
        honest = ask(page, host)
    finally:
        manifest.write_text(text)
    check, load = found["check"], found["load"]
    (reason,) = check["reasons"]
    assert reason["code"] == load["code"] == "missing-feature"
    assert f"maxBufferSize ≥ {LARGE - 4}, and gives no device with that" in reason["message"]
    assert reason["message"] == load["message"] and host.weights == []
    (limit,) = honest["check"]["missing"]["limits"]
    assert (limit["name"], limit["needed"]) == ("maxBufferSize", LARGE - 4) and 0 < limit["has"] < LARGE - 4
    assert honest["check"]["reasons"][0]["code"] == honest["load"]["code"] == "missing-feature"


def test_webllms_names_refuse_early_too(page: Any, host: Host) -> None:
    host.policy = "script-src 'self'"
    tab = page.context.new_page()
    tab.goto(f"{host.url}empty.html")
    script = """async ([here, url]) => {
      const { CreateMLCEngine } = await import(`${here}web-llm.js`);
      return CreateMLCEngine(url).catch(({ code, message }) => ({ code, message }));
    }"""
    error = tab.evaluate(script, [host.url, host.mini])
    tab.close()
    assert error["code"] == "no-wasm" and "wasm-unsafe-eval" in error["message"] and host.weights == []
