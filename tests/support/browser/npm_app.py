"""A page that uses the npm package as pages do: the engine, a worker, and what the engine fetches when it needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page as RawPage

from mlcweb.cli.command import run
from tests.support.browser.mini_bundle import Mini, chat_tokens

MODEL = Mini()
ANSWER = bytes(MODEL.answer(chat_tokens(("user", "hello")))).decode()

# TypeScript that is JavaScript too, but for `export {}`'s sake nothing. {worker}: how the page makes its worker;
# {suffix}: of the package's other entries.
PAGE = """
import { Engine, InvalidRequestError } from "mlcweb";
import { WorkerEngine } from "mlcweb/worker{suffix}";

const models = new URL("models/", document.baseURI).href;
const messages = [{ role: "user", content: "hello" }];

async function use() {
  const engine = await Engine.load(models + "mini/");
  const answer = await engine.chat.completions.create({ messages, temperature: 0, stream: false });
  let streamed = "";
  for await (const chunk of await engine.chat.completions.create({ messages, temperature: 0, stream: true }))
    streamed += chunk.choices[0]?.delta.content ?? "";
  const held = await engine.chat.completions.create({
    messages, stream: false, response_format: { type: "regex", regex: "[0-9]{5}" },
  });
  const refused = await engine.chat.completions.create({ messages: [] }).then(() => false, (error) =>
    error instanceof InvalidRequestError);
  await engine.unload();
  const { listModels } = await import("mlcweb/catalog{suffix}");
  const listed = await listModels(models);
  const { createFetch } = await import("mlcweb/openai{suffix}");
  const worker = {worker};
  const away = await WorkerEngine.load(worker, models + "mini/");
  const afar = await away.chat.completions.create({ messages, temperature: 0, stream: false });
  await away.unload();
  worker.terminate();
  return {
    answer: answer.choices[0]?.message.content, streamed, held: held.choices[0]?.message.content, refused,
    fits: listed.map(({ id, fits }) => [id, fits]), openai: typeof createFetch,
    afar: afar.choices[0]?.message.content,
  };
}

Object.assign(window, { use });
"""
WORKER = 'import { serveEngine } from "{serve}";\nserveEngine();\n'
WORKER_URL = 'new Worker(new URL("{file}", import.meta.url), { type: "module" })'


def write_models(folder: Path, scratch: Path) -> None:
    """A catalog with one bundle, as `mlcweb publish` writes it."""
    assert run(["publish", str(MODEL.write(scratch / "mini")), str(folder)]) == 0


@dataclass
class Seen:
    """What the page's functions returned, and what the browser complained of."""

    result: dict[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


def open_and_use(raw: RawPage, url: str) -> Seen:
    """Open the page, and use it; violations of its policy are among the complaints, also its worker's."""
    seen = Seen()
    raw.on("console", lambda m: seen.complaints.append(m.text) if m.type in ("error", "warning") else None)
    raw.on("pageerror", lambda error: seen.complaints.append(str(error)))
    raw.add_init_script(
        "window.violations = []; document.addEventListener('securitypolicyviolation', event =>"
        " window.violations.push(`${event.violatedDirective} ${event.blockedURI}`))"
    )
    raw.goto(url)
    raw.wait_for_function("Boolean(window.use)", timeout=120_000)
    seen.result = raw.evaluate("window.use()")
    seen.complaints += raw.evaluate("window.violations")
    return seen


def check(seen: Seen) -> None:
    """All answers are the model's, and the browser had nothing to complain of."""
    held = seen.result.pop("held")
    assert len(held) == 5 and held.isdecimal()
    assert seen.result == {
        "answer": ANSWER,
        "streamed": ANSWER,
        "refused": True,
        "fits": [["mini", True]],
        "openai": "function",
        "afar": ANSWER,
    }
    assert seen.complaints == []
