"""Chats with pictures, from a page's own to the answer: on the page, in a worker and in a service worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlcweb.compile import CompileRequest, compile_bundle
from tests.fixtures.images.cases import BY_NAME
from tests.fixtures.images.checkpoint import make_folder
from tests.support.browser.model_page import ModelPage, open_model_page, serve_site
from tests.support.engine import needs_engine

pytestmark = [needs_engine, pytest.mark.slow]

SETUP = """async () => {
  const { Engine } = await import("./mlcweb.js");
  const { WorkerEngine } = await import("./worker.js");
  const options = { cache: false, tier: "software" };
  const load = {
    page: () => Engine.load("./seeing/", options),
    worker: () => WorkerEngine.load(new Worker("./dedicated.js", { type: "module" }), "./seeing/", options),
    service: async () => {
      await navigator.serviceWorker.register("./service.js", { type: "module" });
      return WorkerEngine.load(navigator.serviceWorker, "./seeing/", options);
    },
  };
  const engines = {};
  window.engineOf = (place) => engines[place] ??= load[place]();
  // Four tiles of 32 pixels beside each other.
  window.canvasOf = (red, width = 128, height = 32) => {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    const gradient = context.createLinearGradient(0, 0, width, height);
    gradient.addColorStop(0, `rgb(${red}, 0, 90)`);
    gradient.addColorStop(1, "white");
    context.fillStyle = gradient;
    context.fillRect(0, 0, width, height);
    return canvas;
  };
  window.asking = (image, more = {}, words = "What is it?") => [
    { role: "user", content: [{ type: "image", image, ...more }, { type: "text", text: words }] },
  ];
  window.ask = async (place, messages) => {
    const engine = await engineOf(place);
    const request = { messages, max_tokens: 6, temperature: 0, logprobs: true };
    const { choices: [{ message, logprobs }], usage } = await engine.chat.completions.create(request);
    return { text: message.content, logprobs: logprobs.content.map(({ logprob }) => logprob), usage };
  };
}"""


@pytest.fixture(scope="module")
def page(chromium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelPage]:
    folder = tmp_path_factory.mktemp("seeing") / "site"
    folder.mkdir()
    source = make_folder(folder.with_name("model"), BY_NAME["smolvlm"])
    tiers = ("software",)
    compile_bundle(
        CompileRequest(
            str(source), "q0f32", folder / "seeing", "seeing", tiers=tiers, context_length=256, evaluate=False
        )
    )
    for name, served in (("dedicated", "serve"), ("service", "serve-service")):
        script = f'import {{ serveEngine }} from "./{served}.js";\nserveEngine();\n'
        (folder / f"{name}.js").write_text(script)
    with serve_site(folder) as site, open_model_page(chromium, site) as opened:
        opened.raw.evaluate(SETUP)
        yield opened


def run(page: ModelPage, body: str) -> Any:
    """What the body of an async function returns, or a failure after two minutes."""
    script = f"""Promise.race([(async () => {{ {body} }})(),
      new Promise((_, reject) => setTimeout(() => reject(new Error("hangs")), 120000))])"""
    return page.raw.evaluate(script)


def test_a_picture_is_in_the_prompt_and_changes_the_answer(page: ModelPage) -> None:
    prompt, tokens, one, other, low, words = run(
        page,
        """const engine = await engineOf("page");
        const blob = await canvasOf(10).convertToBlob();
        const { text, tokens } = await engine.chat.completions.prompt({ messages: asking(blob) });
        return [text, tokens.length, await ask("page", asking(blob)),
          await ask("page", asking(await canvasOf(250).convertToBlob())),
          await ask("page", asking(blob, { detail: "low" })),
          await ask("page", [{ role: "user", content: "What is it?" }])];""",
    )
    rows = "<image>" * 4
    tiles = "".join(f"<fake_token_around_image><row_1_col_{i}>{rows}" for i in range(1, 5))
    whole = f"<fake_token_around_image><global-img>{rows}<fake_token_around_image>"
    assert prompt == f"<|im_start|>User:{tiles}\n\n{whole}What is it?<end_of_utterance>\nAssistant:"
    assert one["usage"]["prompt_tokens"] == tokens
    assert tokens > low["usage"]["prompt_tokens"] > words["usage"]["prompt_tokens"]
    assert one["logprobs"] != other["logprobs"]


def test_a_conversation_sees_its_pictures_once(page: ModelPage) -> None:
    first, second, again = run(
        page,
        """const messages = asking(await canvasOf(77).convertToBlob());
        const first = await ask("page", messages);
        const more = [...messages, { role: "assistant", content: first.text }, { role: "user", content: "And?" }];
        const second = await ask("page", more);
        await (await engineOf("page")).reset();
        return [first, second, await ask("page", more)];""",
    )
    assert second["usage"]["extra"]["cached_prompt_tokens"] >= first["usage"]["prompt_tokens"]
    assert again["usage"]["extra"]["cached_prompt_tokens"] == 0
    assert again["logprobs"] == pytest.approx(second["logprobs"], abs=1e-4)


@pytest.mark.parametrize("place", ["worker", pytest.param("service", marks=pytest.mark.sweep)])
def test_workers_see_the_same(page: ModelPage, place: str) -> None:
    body = f"""const canvas = canvasOf(10);
    const blob = await canvas.convertToBlob();
    const url = await new Promise((done) => {{
      const reader = Object.assign(new FileReader(), {{ onload: () => done(reader.result) }});
      reader.readAsDataURL(blob);
    }});
    const pictures = [blob, canvas, await createImageBitmap(canvas), url,
      canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)];
    const answers = [await ask("page", asking(blob))];
    for (const picture of pictures) answers.push(await ask("{place}", asking(picture)));
    return answers;"""
    expected, *answers = run(page, body)
    assert len(answers) == 5
    for got in answers:
        assert got["text"] == expected["text"]
        assert got["logprobs"] == pytest.approx(expected["logprobs"], abs=1e-5)


@pytest.mark.parametrize("place", ["page", "worker"])
def test_what_is_wrong_is_said(page: ModelPage, place: str) -> None:
    refused = run(
        page,
        f"""const engine = await engineOf("{place}");
        const why = (asked) => asked.then(() => "nothing", ({{ code, param }}) => [code, param]);
        const chat = (messages) => why(engine.chat.completions.create({{ messages }}));
        return [
          await chat(asking(new Blob(["no picture"]))),
          await chat([{{ role: "user", content: "an <image>" }}]),
          await chat([...asking(canvasOf(1)), {{ role: "assistant", content: [
            {{ type: "image", image: await canvasOf(1).convertToBlob() }}] }}]),
          await why(engine.completions.create({{ prompt: "an <image>" }})),
        ];""",
    )
    assert refused == [
        ["invalid-request", "messages[0].content[0]"],
        ["invalid-request", "messages"],
        ["invalid-request", "messages[1].content[0]"],
        ["invalid-request", "prompt"],
    ]


def test_more_pictures_than_the_context_holds_are_refused(page: ModelPage) -> None:
    """The widest picture takes four tiles, as many as a square takes sixteen."""
    body = """const tall = await canvasOf(3, 128, 128).convertToBlob();
    const wide = await canvasOf(3, 4000, 2).convertToBlob();
    const part = (image) => ({ type: "image", image });
    const asked = ask("page", [{ role: "user", content: [tall, tall, tall].map(part) }]);
    return [await asked.catch(({ code }) => code), (await ask("page", asking(wide))).usage.prompt_tokens];"""
    code, tokens = run(page, body)
    assert code == "context-length"
    assert tokens < 100
