"""The engine in a real browser, on a model made by hand: `npm run build` in runtime-js first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from mlcweb.browser.page import open_page
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import PAGE, PAGES, Mini, chat_tokens
from tests.support.engine import ENGINE, needs_engine

USER = [{"role": "user", "content": "hello"}]
PROMPT = chat_tokens(("user", "hello"))

pytestmark = needs_engine


@pytest.fixture(scope="module")
def mini() -> Mini:
    return Mini()


@pytest.fixture(scope="module")
def server(mini: Mini, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    with EngineServer(ENGINE, mini.write(tmp_path_factory.mktemp("mini"))) as running:
        yield running


@pytest.fixture(scope="module")
def browser_page(chromium: Path, server: EngineServer) -> Iterator[Page]:
    with open_page(chromium, hold_signals=False) as page:
        page.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
        yield page.raw


@pytest.fixture
def page(browser_page: Page, server: EngineServer) -> Iterator[Page]:
    server.damage.clear()
    server.drop_once.clear()
    server.down, server.delay = False, 0.0
    yield browser_page
    call(browser_page, "unload")
    call(browser_page, "deleteFromCache", "./bundle/")


def call(page: Page, method: str, *args: Any) -> Any:
    """The function's result, or a failure after five minutes."""
    script = """([method, args]) => Promise.race([window.mlcweb[method](...args),
      new Promise((_, reject) => setTimeout(() => reject(new Error(`${method} hangs`)), 300000))])"""
    return page.evaluate(script, [method, list(args)])


def load(page: Page, **options: Any) -> Any:
    result = call(page, "load", "./bundle/", options)
    assert "error" not in result, result
    return result


def text(tokens: list[int]) -> str:
    return bytes(t for t in tokens if t < 256).decode()


def test_loads_and_reports(page: Page) -> None:
    result = load(page, contextLength=64)
    info = result["info"]
    assert info["tier"] == "base" and info["tiers"] == ["f16", "base"]
    assert info["contextLength"] == 64
    assert info["memory"]["kv"] == 64 * 4
    assert info["memory"]["weight"] == 4000 + 1040 + 16
    assert result["progress"]["stage"] == "ready" and result["progress"]["fraction"] == 1
    assert result["warnings"] == []


def test_greedy_and_logits_follow_the_model(page: Page, mini: Mini) -> None:
    load(page)
    long = [(7 * i) % 250 for i in range(45)]  # three chunks of prefill
    assert call(page, "greedy", long, 20)["tokens"] == mini.greedy(long, 20)
    steps = call(page, "replay", long, [1, 2, 3])["steps"]
    for i, logits in enumerate(steps):
        assert logits == pytest.approx(mini.logits([*long, *[1, 2, 3][:i]]), abs=1e-5)


def test_chat_stops_at_the_end_token_and_reuses_the_cache(page: Page, mini: Mini) -> None:
    load(page)
    deltas: list[str] = []
    page.expose_function("mlcwebDelta", lambda delta: deltas.append(delta))
    first = call(page, "chat", USER, {"temperature": 0})
    assert "error" not in first, first
    expected = mini.answer(PROMPT)
    assert first["text"] == text(expected) == "".join(deltas)
    assert len(PROMPT) + len(expected) < PAGE * PAGES, "this seed must end before the context does"
    assert first["finish_reason"] == "stop"
    assert first["usage"]["completion_tokens"] == len(expected)
    again = [*USER, {"role": "assistant", "content": first["text"]}, {"role": "user", "content": "more"}]
    prompt = chat_tokens(("user", "hello"), ("assistant", first["text"]), ("user", "more"))
    second = call(page, "chat", again, {"temperature": 0, "max_tokens": 5})
    assert second["text"] == text(mini.answer(prompt, 5))
    assert second["usage"]["extra"]["cached_prompt_tokens"] >= len(PROMPT) + len(expected)
    third = call(page, "chat", USER, {"temperature": 0})
    assert third["text"] == first["text"]
    assert third["usage"]["extra"]["cached_prompt_tokens"] == len(PROMPT) - 1


def test_stop_strings_and_length(page: Page, mini: Mini) -> None:
    load(page)
    whole = text(mini.answer(PROMPT))
    stop = whole[4:6]
    cut = call(page, "create", {"messages": USER, "temperature": 0, "stop": [stop]})["choices"][0]
    assert cut["message"]["content"] == whole[: whole.index(stop)] and cut["finish_reason"] == "stop"
    after = call(page, "create", {"messages": USER, "temperature": 0})["choices"][0]
    assert after["message"]["content"] == whole, "what ran past the stop must not be in the cache"
    short = call(page, "create", {"messages": USER, "temperature": 0, "max_tokens": 3})["choices"][0]
    assert short["message"]["content"] == whole[:3] and short["finish_reason"] == "length"


def test_fills_the_context_exactly(page: Page, mini: Mini) -> None:
    load(page, contextLength=24)
    tokens = [5, 6, 7]
    assert call(page, "greedy", tokens, 1000)["tokens"] == mini.greedy(tokens, 21)
    error = call(page, "chat", [{"role": "user", "content": "x" * 40}])["error"]
    assert error["code"] == "context-length"


def test_host_sampling_agrees_and_biases(page: Page, mini: Mini) -> None:
    load(page)
    expected = mini.answer(PROMPT)
    result = call(page, "chat", USER, {"temperature": 0, "logprobs": True, "top_logprobs": 2})
    assert result["text"] == text(expected)
    assert [p["token"] for p in result["logprobs"]] == [chr(t) for t in expected]
    assert all(
        len(p["top_logprobs"]) == 2 and p["logprob"] == p["top_logprobs"][0]["logprob"]
        for p in result["logprobs"]
    )
    biased = call(page, "chat", USER, {"temperature": 0, "logit_bias": {"65": 100}, "max_tokens": 4})
    assert biased["text"] == "AAAA" and biased["finish_reason"] == "length"


def test_sampling_is_repeatable_by_seed(page: Page) -> None:
    load(page)

    def ask(seed: int) -> str:
        return str(call(page, "chat", USER, {"temperature": 2, "seed": seed, "max_tokens": 12})["text"])

    assert ask(1) == ask(1) != ask(2)


def test_choices_share_the_prompt(page: Page, mini: Mini) -> None:
    load(page)
    result = call(page, "create", {"messages": USER, "temperature": 0, "n": 2, "max_tokens": 4})
    assert [c["message"]["content"] for c in result["choices"]] == [text(mini.answer(PROMPT, 4))] * 2


def test_requests_wait_their_turn(page: Page, mini: Mini) -> None:
    load(page)
    both = page.evaluate(
        "m => Promise.all([window.mlcweb.create(m), window.mlcweb.create(m)])",
        {"messages": USER, "temperature": 0},
    )
    assert [b["choices"][0]["message"]["content"] for b in both] == [text(mini.answer(PROMPT))] * 2


def test_interrupt_abort_and_unload(chromium: Path, tmp_path: Path) -> None:
    endless = Mini(seed=3, ends=False)
    with (
        EngineServer(ENGINE, endless.write(tmp_path)) as server,
        open_page(chromium, hold_signals=False) as opened,
    ):
        opened.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
        page = opened.raw
        load(page)
        script = """async (what) => {
          let n = 0;
          const started = new Promise(r => { window.mlcwebDelta = () => { if (++n === 3) r(); }; });
          const answer = window.mlcweb.chat([{role: "user", content: "hello"}], {temperature: 0});
          await started; window.mlcweb[what](); return answer; }"""
        stopped = page.evaluate(script, "interrupt")
        assert stopped["finish_reason"] == "abort" and 3 <= len(stopped["text"]) < 100
        aborted = page.evaluate(script, "abort")
        assert aborted.get("error", {}).get("code") == "cancelled", aborted
        expected = text(endless.answer(PROMPT, 10))
        assert call(page, "chat", USER, {"temperature": 0, "max_tokens": 10})["text"] == expected
        assert page.evaluate(script, "unload")["error"]["code"] == "unloaded"
        assert call(page, "chat", USER)["error"]["code"] == "unloaded"
        assert call(page, "unload") == {}


def test_validates(page: Page) -> None:
    report = call(page, "validate", "./bundle/")
    assert report["ok"] and report["greedy_equal"] and report["max_relative_difference"] < 1e-5, report
    assert len(report["steps"]) == 8


def test_second_load_needs_no_network(page: Page, server: EngineServer) -> None:
    load(page)
    server.hits.clear()
    server.down = True
    result = load(page)
    assert [w["code"] for w in result["warnings"]] == ["offline"]
    assert set(server.hits) == {"mlcweb.json", "carrier-worker.js"}, "the engine's own script is one"


def test_damage_is_named(page: Page, server: EngineServer) -> None:
    chunk = next(name for name in bundle_files(page) if name.startswith("weights-003"))
    call(page, "deleteFromCache", "./bundle/")
    server.damage.add(chunk)
    error = call(page, "load", "./bundle/")["error"]
    assert error["code"] == "integrity" and chunk in error["message"]
    server.damage.clear()
    load(page)


def test_a_dropped_connection_resumes(page: Page, server: EngineServer) -> None:
    chunk = next(name for name in bundle_files(page) if name.startswith("weights-004"))
    call(page, "deleteFromCache", "./bundle/")
    server.ranges.clear()
    server.drop_once.add(chunk)
    load(page)
    assert any(r.startswith(chunk) for r in server.ranges)


def test_a_corrupt_cache_entry_is_fetched_again(page: Page) -> None:
    load(page)
    page.evaluate("""async () => {
      const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("mlcweb-v1");
      for await (const folder of root.values()) for await (const file of folder.values())
        if (file.name.startsWith("weights-003")) {
          const out = await file.createWritable();
          await out.write(new Uint8Array(1024));
          await out.close();
        }
    }""")
    assert [w["code"] for w in load(page)["warnings"]] == ["cache-corrupt"]


def test_cancelling_a_load(page: Page, server: EngineServer) -> None:
    server.delay = 0.3
    page.evaluate("() => { window.pending = window.mlcweb.load('./bundle/'); }")
    time.sleep(0.5)
    began = time.monotonic()
    error = page.evaluate("() => { window.mlcweb.cancelLoad(); return window.pending; }")["error"]
    assert error["code"] == "cancelled" and time.monotonic() - began < 2
    server.delay = 0
    load(page)


def test_what_a_request_gets_wrong_is_named(page: Page) -> None:
    load(page)
    error = call(page, "chat", USER, {"temperature": -1})["error"]
    assert error["code"] == "invalid-request" and error["message"].startswith("temperature:")
    assert call(page, "load", "./nowhere/")["error"]["code"] == "bundle"
    assert call(page, "chat", USER, {"max_tokens": 1})["error"]["code"] == "unloaded"


def test_probe(page: Page) -> None:
    report = call(page, "probe")
    assert report["webgpu"] and "base" in report["tiers"] and report["limits"]["maxBufferSize"] > 0


def bundle_files(page: Page) -> list[str]:
    script = "async () => Object.keys((await (await fetch('./bundle/mlcweb.json')).json()).files)"
    return list(page.evaluate(script))
