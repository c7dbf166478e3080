"""The engine on the CPU: pages without WebGPU, threads where the page is isolated, and what goes wrong there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.browser.model_page import ISOLATED, ModelPage, Site, open_model_page, serve_site
from tests.support.engine import needs_engine
from tests.support.tiny import TinyLlama

pytestmark = needs_engine
MODEL = TinyLlama(layers=2, vocab=320, context=512)
WITHOUT_ADAPTER = ("--disable-gpu", "--disable-software-rasterizer")
NO_GPU = "Object.defineProperty(Navigator.prototype, 'gpu', { get: () => undefined });"
PROMPT = [(7 * i * i + 3 * i) % 300 for i in range(150)]


def made(site: Site) -> str:
    return site.bundle("cpu", MODEL, "q4f32_1", tiers=("software", "wasm"), prefill_chunk=64)


@pytest.fixture(scope="module")
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve_site(tmp_path_factory.mktemp("isolated"), ISOLATED) as running:
        yield running


@pytest.fixture(scope="module")
def threads(chromium: Path, isolated: Site) -> Iterator[ModelPage]:
    """An isolated page of a browser that has WebGPU, and offers no adapter."""
    with open_model_page(chromium, isolated, flags=WITHOUT_ADAPTER) as page:
        yield page


@pytest.fixture(scope="module")
def alone(chromium: Path, site: Site) -> Iterator[ModelPage]:
    """A page that is not isolated, and has no WebGPU."""
    with open_model_page(chromium, site, script=NO_GPU) as page:
        yield page


@pytest.fixture(scope="module")
def on_gpu(chromium: Path, isolated: Site) -> Iterator[dict[str, Any]]:
    """What the tier ``software`` says, with prefill in floats."""
    with open_model_page(chromium, isolated) as page:
        page.load(made(isolated), tier="software", activations="float")
        yield {
            "greedy": page.right("greedy", PROMPT, 24)["tokens"],
            "logits": page.right("replay", PROMPT, [5, 6, 7])["steps"],
        }


def loaded(page: ModelPage, site: Site, **options: Any) -> dict[str, Any]:
    return page.load(made(site), **options)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_browser_without_an_adapter_answers_as_one_with_it(
    threads: ModelPage, isolated: Site, on_gpu: dict[str, Any], count: int
) -> None:
    info = loaded(threads, isolated, threads=count)
    assert (info["tier"], info["activations"], info["threads"]) == ("wasm", "int8", count)
    assert info["adapter"]["software"] and info["kvTokens"] == info["contextLength"]
    found = np.array(threads.right("replay", PROMPT, [5, 6, 7])["steps"])
    expected = np.array(on_gpu["logits"])
    assert np.abs(found - expected).max() / np.ptp(expected) < 0.05
    # int8 may part from floats after a near tie, but not from itself: neither by chunks, nor by threads
    greedy = threads.right("greedy", PROMPT, 24)["tokens"]
    threads.right("reset")
    assert threads.right("greedy", PROMPT, 24)["tokens"] == greedy
    assert greedy[:4] == on_gpu["greedy"][:4]


def test_all_threads_compute_the_same(threads: ModelPage, isolated: Site) -> None:
    answers = []
    for count in (1, 2, 3):
        loaded(threads, isolated, threads=count)
        answers.append(threads.right("replay", PROMPT, [5, 6, 7])["steps"])
    assert answers[0] == answers[1] == answers[2]


def test_a_page_that_is_not_isolated_has_one_thread(alone: ModelPage, site: Site) -> None:
    info = loaded(alone, site, threads=2)
    assert (info["tier"], info["threads"]) == ("wasm", 1)
    assert not alone.raw.evaluate("crossOriginIsolated")


def test_the_bundle_validates(threads: ModelPage, isolated: Site) -> None:
    report = threads.validate(made(isolated), "wasm", threads=2)
    assert report["ok"] and report["activation"] == "int8", report


def test_requests_are_honoured(alone: ModelPage, site: Site) -> None:
    loaded(alone, site)
    messages = [{"role": "user", "content": "one two"}]

    def said(**asked: Any) -> Any:
        answer = alone.right("create", {"messages": messages, "max_tokens": 12, **asked})
        return [choice["message"]["content"] for choice in answer["choices"]]

    seeded = said(temperature=1.0, seed=7)
    assert seeded == said(temperature=1.0, seed=7) != said(temperature=1.0, seed=8)
    assert len(set(said(temperature=1.5, seed=7, n=3))) > 1
    (plain,) = said(temperature=0)
    (penalized,) = said(temperature=0, frequency_penalty=2.0, presence_penalty=2.0)
    assert plain != penalized
    (number,) = said(temperature=1.0, seed=3, response_format={"type": "regex", "regex": "[0-9]{5}"})
    assert number.isdigit() and len(number) == 5
    either = {"type": "regex", "regex": "(abcdefgh|xyz)12345[0-9]"}
    (forced,) = said(temperature=0, max_tokens=20, response_format=either)
    assert forced[:-1] in ("abcdefgh12345", "xyz12345")
    answer = alone.right(
        "create",
        {"messages": messages, "max_tokens": 4, "temperature": 0, "logprobs": True, "top_logprobs": 2},
    )
    chosen = answer["choices"][0]["logprobs"]["content"]
    assert len(chosen) == 4 and all(
        token["logprob"] == token["top_logprobs"][0]["logprob"] for token in chosen
    )


def test_a_prompts_beginning_is_kept(alone: ModelPage, site: Site) -> None:
    loaded(alone, site)
    alone.right("reset")
    first = alone.right("greedy", PROMPT, 8)["tokens"]
    longer = [*PROMPT, *first, 11, 12, 13]
    reused = alone.right("greedy", longer, 8)["tokens"]
    alone.right("reset")
    assert alone.right("greedy", longer, 8)["tokens"] == reused


def workers_become(page: ModelPage, count: int) -> None:
    """Waits until the browser says that so many workers are left; those that were ended take a moment."""
    for _ in range(100):
        if len(page.raw.workers) == count:
            return
        page.raw.wait_for_timeout(100)
    assert len(page.raw.workers) == count


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.sweep)])
def test_unloading_ends_its_workers(threads: ModelPage, isolated: Site, rounds: int) -> None:
    for _ in range(rounds):
        loaded(threads, isolated, threads=2)
        workers_become(threads, 2)
        assert threads.right("greedy", PROMPT, 4)["tokens"]
        threads.right("unload")
        threads.loaded = "", {}
        workers_become(threads, 0)


def test_a_worker_that_stops_is_told_or_replaced(threads: ModelPage, isolated: Site) -> None:
    threads.raw.evaluate("""() => {
      const Real = Worker; window.made = [];
      window.Worker = class extends Real {
        constructor(...args) { super(...args); if (args[1].name === 'mlcweb-cpu') window.made.push(this); }
        postMessage(...args) {
          super.postMessage(...args);
          if (!window.left || --window.left > 0) return;
          window.made.at(-1).onerror(new ErrorEvent('error', { message: 'gone' }));
        }
      };
    }""")
    try:
        threads.loaded = "", {}
        loaded(threads, isolated, threads=2, recover=False)
        expected = threads.right("greedy", PROMPT, 24)["tokens"]
        threads.raw.evaluate("window.left = 12")
        error = threads.call("greedy", PROMPT, 24)["error"]
        assert error["code"] == "worker" and "stopped: gone" in error["message"], error
        loaded(threads, isolated, threads=2)
        threads.raw.evaluate("window.left = 12")
        assert threads.right("greedy", PROMPT, 24)["tokens"] == expected
        assert threads.raw.evaluate("[window.left, window.made.length]") == [0, 6]
        assert [w["code"] for w in threads.right("warnings")["warnings"]] == ["recovered"]
        workers_become(threads, 2)
    finally:
        threads.raw.reload()
        threads.raw.wait_for_function("() => Boolean(window.mlcweb)")
        threads.loaded = "", {}


BROKEN = {
    "without SIMD": ("WebAssembly.validate = () => false;", "missing-feature", "no SIMD"),
    "that may not compile": (
        "WebAssembly.compile = async () => { throw new WebAssembly.CompileError('refused by the policy'); };",
        "no-wasm",
        "script-src 'wasm-unsafe-eval'",
    ),
    "that cannot compile the kernels": (
        """const compile = WebAssembly.compile; WebAssembly.compile = async (bytes) => {
          if (bytes.byteLength > 8) throw new WebAssembly.CompileError('too new'); return compile(bytes); };""",
        "bundle",
        "too new",
    ),
    "without room": (
        """WebAssembly.Memory = new Proxy(WebAssembly.Memory, { construct(target, [how]) {
          if (how.initial !== 64) throw new RangeError('no room'); return new target(how); } });
          window.Worker = undefined;""",
        "out-of-memory",
        "MiB of memory",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_browser(chromium: Path, site: Site, what: str) -> None:
    script, code, message = BROKEN[what]
    with open_model_page(chromium, site, script=NO_GPU + script) as page:
        error = page.call("load", f"./{made(site)}/", {"cache": False})["error"]
        assert error["code"] == code and message in error["message"], error


NOT_RELAXED = """const validate = WebAssembly.validate;
WebAssembly.validate = bytes => !new Uint8Array(bytes).join().includes('253,146,2') && validate(bytes);"""
OTHERS = {
    "without Relaxed SIMD": NOT_RELAXED,
    "without workers": "window.Worker = undefined;",
    "whose policy forbids workers": """window.Worker = class { constructor() {
  setTimeout(() => this.onerror(new ErrorEvent('error', { cancelable: true }))); } terminate() {} };""",
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_model_runs_in_a_browser(chromium: Path, site: Site, on_gpu: dict[str, Any], what: str) -> None:
    with open_model_page(chromium, site, script=NO_GPU + OTHERS[what]) as page:
        asked: list[str] = []
        page.raw.on("request", lambda request: asked.append(request.url))
        info = loaded(page, site)
        assert (info["tier"], info["threads"]) == ("wasm", 1)
        relaxed = any("kernels.wasm.relaxed" in url for url in asked)
        assert relaxed == (what != "without Relaxed SIMD")
        greedy = page.right("greedy", PROMPT, 8)["tokens"]
        assert greedy[:4] == on_gpu["greedy"][:4]


def test_what_the_tier_cannot_do_is_refused(alone: ModelPage, site: Site) -> None:
    bundle = f"./{made(site)}/"
    error = alone.call("load", bundle, {"cache": False, "tier": "wasm", "activations": "float"})["error"]
    assert error["code"] == "invalid-request" and "are int8 on the tier wasm" in error["message"], error
    alone.loaded = "", {}  # that load ended what was there
    loaded(alone, site)
    error = alone.call("profile")["error"]
    assert error["code"] == "invalid-request" and "wasm is not" in error["message"], error
    alone.loaded = "", {}


def test_a_tier_that_is_wrong_is_told(alone: ModelPage, site: Site) -> None:
    bundle = site.bundle("wrong", MODEL, "q4f32_1", tiers=("wasm",), evaluate=False)
    folder = site.folder / bundle
    manifest = json.loads((folder / "mlcweb.json").read_text())
    old = manifest["validation"]
    expected = json.loads((folder / old).read_text())
    for step in expected["steps"]:
        step["top"] = [[token, logit + step["range"]] for token, logit in step["top"]]
    data = json.dumps(expected).encode()
    sha256 = hashlib.sha256(data).hexdigest()
    manifest["validation"] = f"validation.{sha256[:8]}.json"
    del manifest["files"][old]
    manifest["files"][manifest["validation"]] = {"bytes": len(data), "sha256": sha256}
    (folder / manifest["validation"]).write_bytes(data)
    (folder / "mlcweb.json").write_text(json.dumps(manifest))
    error = alone.call("load", f"./{bundle}/", {"cache": False, "selfCheck": True})["error"]
    assert error["code"] == "wrong-results" and "every tier" in error["message"], error
    alone.loaded = "", {}


def test_a_bundle_without_the_tier_says_what_is_missing(alone: ModelPage, site: Site) -> None:
    bundle = site.bundle("gpu-only", MODEL, "q4f32_1", tiers=("software",))
    error = alone.call("load", f"./{bundle}/", {"cache": False})["error"]
    assert error["code"] == "no-webgpu"


ELSEWHERE = """async ([cdn, bundle, tokens]) => {
  const { Engine } = await import(`${cdn}mlcweb.js`);
  const engine = await Engine.load(`${cdn}${bundle}/`, { tier: "wasm", cache: false });
  const answer = await engine.greedy(tokens, 8);
  await engine.unload();
  return answer;
}"""


def test_an_engine_of_another_origin(
    chromium: Path, site: Site, tmp_path: Path, on_gpu: dict[str, Any]
) -> None:
    """Its workers are of the page's origin, and import their script."""
    with serve_site(tmp_path, {"Access-Control-Allow-Origin": "*"}) as cdn:
        bundle = made(cdn)
        with open_model_page(chromium, site, script=NO_GPU) as page:
            page.raw.goto(f"{site.url}sentences.txt")  # a page of the site without a policy of its own
            greedy = page.raw.evaluate(ELSEWHERE, [cdn.url, bundle, PROMPT])
            assert greedy[:4] == on_gpu["greedy"][:4]
            assert page.raw.workers == [] or all("blob:" in worker.url for worker in page.raw.workers)
