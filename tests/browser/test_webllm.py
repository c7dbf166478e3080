"""WebLLM's names in a real browser, through an import map: one line switches a page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from mlcweb.browser.page import open_page
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import END, Mini, chat_tokens
from tests.support.engine import ENGINE, needs_engine

pytestmark = needs_engine

PAGE = """<!doctype html><title>an app</title>
<script type="importmap">{"imports": {"@mlc-ai/web-llm": "./web-llm.js"}}</script>
<script type="module">
  import * as webllm from "@mlc-ai/web-llm";
  window.webllm = webllm;
  window.reports = [];
  window.config = (more = {}) => ({
    appConfig: {
      model_list: [{ model: "./bundle/", model_id: "mini-MLC", model_lib: "", overrides: { temperature: 0 } }],
    },
    initProgressCallback: (report) => window.reports.push(report.text),
    ...more,
  });
  window.ask = { messages: [{ role: "user", content: "hello" }], max_tokens: 12 };
</script>"""
WORKER = """import { WebWorkerMLCEngineHandler } from "./web-llm.js";
const handler = new WebWorkerMLCEngineHandler();
self.onmessage = (event) => handler.onmessage(event);"""
SERVICE = """import { ServiceWorkerMLCEngineHandler } from "./web-llm.js";
import * as constrain from "./constrain.js";
let handler;
self.addEventListener("activate", () => { handler = new ServiceWorkerMLCEngineHandler({ constrain }); });"""


@pytest.fixture(scope="module")
def mini() -> Mini:
    return Mini()


@pytest.fixture(scope="module")
def page(chromium: Path, mini: Mini, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("app")
    for name in ("mlcweb.js", "web-llm.js", "constrain.js"):
        shutil.copy(ENGINE / name, folder)
    for name, text in (("app.html", PAGE), ("worker.js", WORKER), ("service.js", SERVICE)):
        (folder / name).write_text(text)
    with (
        EngineServer(folder, mini.write(tmp_path_factory.mktemp("mini"))) as server,
        open_page(chromium, hold_signals=False) as opened,
    ):
        opened.open(f"{server.url}app.html", ready="() => Boolean(window.webllm)")
        yield opened.raw


def run(page: Page, body: str) -> Any:
    """What the body of an async function returns, or a failure after two minutes."""
    script = f"""Promise.race([(async () => {{ {body} }})(),
      new Promise((_, reject) => setTimeout(() => reject(new Error("hangs")), 120000))])"""
    return page.evaluate(script)


HELLO = chat_tokens(("user", "hello"))


def answer(mini: Mini, prompt: list[int], count: int = 12) -> str:
    tokens = mini.greedy(prompt, count)
    end = tokens.index(END) if END in tokens else len(tokens)
    return bytes(tokens[:end]).decode()


def test_an_app_runs_as_it_is(page: Page, mini: Mini) -> None:
    said = run(
        page,
        """const engine = await webllm.CreateMLCEngine("mini-MLC", config());
        const whole = await engine.chat.completions.create(ask);
        const texts = [];
        let usage;
        for await (const chunk of await engine.chat.completions.create({
          ...ask, stream: true, stream_options: { include_usage: true },
        })) {
          texts.push(chunk.choices[0]?.delta.content ?? "");
          usage = chunk.usage ?? usage;
        }
        const echo = await engine.completions.create({ prompt: "hello", echo: true, max_tokens: 4 });
        const reply = await engine.getMessage();
        await engine.reload("mini-MLC", { temperature: 0, context_window_size: 48 });
        const again = await engine.chat.completions.create(ask);
        await engine.unload();
        const error = await engine.chat.completions.create(ask).catch((caught) => caught.name);
        return { whole, streamed: texts.join(""), usage, echo, reply, again, error, reports: reports.splice(0) };""",
    )
    expected = answer(mini, HELLO)
    assert said["whole"]["choices"][0]["message"]["content"] == expected
    assert said["streamed"] == expected
    assert said["again"]["choices"][0]["message"]["content"] == expected
    assert said["whole"]["model"] == "mini-MLC"
    assert said["usage"]["prompt_tokens"] == 1  # the KV cache has the others
    assert said["usage"]["extra"]["e2e_latency_s"] > 0
    completed = answer(mini, list(b"hello"), 4)
    assert (said["echo"]["choices"][0]["text"], said["reply"]) == ("hello" + completed, completed)
    assert said["error"] == "ModelNotLoadedError"
    reports = said["reports"]
    assert reports[0] == "Start to fetch params"
    again = reports.index("Start to fetch params", 1)
    assert reports[again - 1].startswith("Finish loading on WebGPU")
    assert not any(report.startswith("Fetching") for report in reports[again:])  # all of it was kept
    assert reports[-1].startswith("Finish loading on WebGPU")


def test_what_is_kept_is_known_by_the_models_id(page: Page) -> None:
    assert run(
        page,
        """const { appConfig } = config(), id = "mini-MLC", seen = [];
        const has = async () => seen.push(await webllm.hasModelInCache(id, appConfig));
        const load = async () => (await webllm.CreateMLCEngine(id, config())).unload();
        await webllm.deleteModelAllInfoInCache(id, appConfig);
        await has();
        for (const forget of ["deleteModelInCache", "deleteModelWasmInCache", "deleteChatConfigInCache"]) {
          await load();
          await has();
          await webllm[forget](id, appConfig);
          await has();
        }
        const error = await webllm.hasModelInCache("other", appConfig).catch((caught) => caught.name);
        return [...seen, error];""",
    ) == [False, True, False, True, False, True, False, "ModelNotFoundError"]


def test_a_logit_processor_chooses(page: Page) -> None:
    assert run(
        page,
        """const heard = [];
        const processor = {
          processLogits: (logits) => { logits.fill(0); logits[104] = 1; return logits; },
          processSampledToken: (token) => heard.push(token),
          resetState: () => heard.push("reset"),
        };
        const logitProcessorRegistry = new Map([["mini-MLC", processor]]);
        const engine = await webllm.CreateMLCEngine("mini-MLC", config({ logitProcessorRegistry }));
        const reply = await engine.chat.completions.create({ ...ask, max_tokens: 2 });
        await engine.resetChat();
        const token = await engine.forwardTokensAndSample([1, 2], true);
        await engine.unload();
        return [reply.choices[0].message.content, token, heard];""",
    ) == ["hh", 104, ["reset", 104, 104, "reset", 104]]


def test_workers_answer_alike(page: Page, mini: Mini) -> None:
    texts = run(
        page,
        """const worker = new Worker("./worker.js", { type: "module" });
        const inWorker = await webllm.CreateWebWorkerMLCEngine(worker, "mini-MLC", config());
        await navigator.serviceWorker.register("./service.js", { type: "module" });
        const inService = await webllm.CreateServiceWorkerMLCEngine("mini-MLC", config());
        const texts = [];
        for (const engine of [inWorker, inService]) {
          let text = "";
          for await (const { choices } of await engine.chat.completions.create({ ...ask, stream: true }))
            text += choices[0]?.delta.content ?? "";
          texts.push(text);
        }
        const regex = { type: "regex", regex: "[ab]{3}" };
        const held = await inService.chat.completions.create({ ...ask, response_format: regex });
        await inWorker.unload();
        worker.terminate();
        window.inService = inService;
        return [...texts, held.choices[0].message.content];""",
    )
    assert texts[:2] == [answer(mini, HELLO)] * 2
    assert re.fullmatch("[ab]{3}", texts[2])


def test_a_service_worker_that_was_ended_answers_again(page: Page, mini: Mini) -> None:
    """Its script starts anew, without the event `activate` in which the app made its handler."""
    session = page.context.new_cdp_session(page)
    session.send("ServiceWorker.enable")
    session.send("ServiceWorker.stopAllWorkers")
    session.detach()
    text = run(
        page,
        """const reply = await inService.chat.completions.create(ask);
        await inService.unload();
        return reply.choices[0].message.content;""",
    )
    assert text == answer(mini, HELLO)
