"""Models that see pictures of any shape, compiled and run in a browser, against transformers: logits after two."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.grids.cases import BY_NAME, CHUNK, CONTEXT, IMAGE_TOKEN, STEPS, GridCase
from tests.fixtures.grids.checkpoint import expected, make_folder, pictures
from tests.support.browser.model_page import ModelPage, Site, open_model_page, serve_site
from tests.support.engine import needs_engine

pytestmark = [needs_engine, pytest.mark.slow]

# A model that is there stays: a CPU compiles its kernels for half a minute.
LOAD = """async ([url, tier]) => {
  const { Engine } = await import("./mlcweb.js");
  if (window.loadedUrl === url) {
    await window.seeing.reset();
  } else {
    await window.seeing?.unload();
    window.seeing = await Engine.load(url, { cache: false, selfCheck: false, tier });
    window.loadedUrl = url;
  }
  return window.seeing.info.images;
}"""
# The engine's own way from pixels on: what comes before is in runtime-js/test/whole.test.ts.
SEE = """async ([prompt, pictures]) => {
  const engine = window.seeing;
  const seen = pictures.map(({ key, rgb, width, height }) => ({ key, rows: 0, columns: 0, size: { width, height },
    tiles: [Uint8Array.from(atob(rgb), (c) => c.charCodeAt(0))] }));
  window.prompt = await engine.eyes.see(engine.held.answering(), prompt, seen, undefined);
  return window.prompt;
}"""
REPLAY = """async (following) =>
  (await window.seeing.replay(window.prompt, following)).map((logits) => Array.from(logits))"""
GREEDY = """async ([tokens, count]) => {
  const answer = await window.seeing.greedy(tokens, count);
  return [answer, window.seeing.info.cachedTokens];
}"""
RESET = "() => window.seeing.reset()"
CONSTRAINED = """async ([tokens, regex]) => {
  const answer = [], request = { max_tokens: 20, temperature: 0, response_format: { type: "regex", regex } };
  for await (const { token } of window.seeing.generate(tokens, request)) answer.push(token);
  return answer;
}"""
# A chat about a picture, whose bytes are a PNG's; a smaller one where `detail` is low.
CHAT = """async ([width, height, detail, more]) => {
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  const gradient = context.createLinearGradient(0, 0, width, height);
  gradient.addColorStop(0, "rgb(10, 200, 90)");
  gradient.addColorStop(1, "white");
  context.fillStyle = gradient;
  context.fillRect(0, 0, width, height);
  const image = await canvas.convertToBlob();
  const content = [{ type: "image", image, ...(detail && { detail }) }, { type: "text", text: "What?" }];
  const messages = [{ role: "user", content }, ...more], { completions } = window.seeing.chat;
  try {
    const { text } = await completions.prompt({ messages });
    const request = { messages, max_tokens: 4, temperature: 0, logprobs: true };
    const { choices: [{ message, logprobs }], usage } = await completions.create(request);
    return { prompt: text, text: message.content, usage,
      logprobs: logprobs.content.map(({ logprob }) => logprob) };
  } catch ({ code, message }) {
    return { code, message };
  }
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("grids") / "site"
    folder.mkdir()
    with serve_site(folder) as made:
        yield made


@pytest.fixture(scope="module")
def page(chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(chromium, site) as opened:
        yield opened


def compiled(site: Site, case: GridCase, scheme: str, tier: str) -> str:
    sizes = {"context_length": CONTEXT, "prefill_chunk": CHUNK}
    return site.compiled(case.name, lambda folder: make_folder(folder, case), scheme, tier, **sizes)


def shown(case: GridCase, names: str = "ab") -> list[dict[str, Any]]:
    return [
        {
            "key": name,
            "rgb": base64.b64encode(rgb.tobytes()).decode(),
            "width": rgb.shape[1],
            "height": rgb.shape[0],
        }
        for name, rgb in zip(names, pictures(case), strict=True)
    ]


@pytest.mark.parametrize(
    ("case", "tier"),
    [
        ("qwen3_vl", "software"),
        ("qwen2_5_vl", "software"),
        ("qwen3_5", "software"),
        *(
            pytest.param(*case, marks=pytest.mark.sweep)
            for case in (
                ("qwen3_vl", "base"),
                ("qwen2_5_vl", "base"),
                ("qwen3_5", "base"),
                ("qwen3_vl_large", "software"),
                ("qwen3_vl_large", "base"),
            )
        ),
    ],
)
def test_logits_after_pictures_are_transformers(page: ModelPage, site: Site, case: str, tier: str) -> None:
    """Chunks of the prompt end inside of both pictures."""
    model = BY_NAME[case]
    assert page.raw.evaluate(LOAD, [f"./{compiled(site, model, 'q0f32', tier)}/", tier]) is True
    fixture = expected(model)
    prompt, answer = fixture.tokens[:-STEPS], fixture.tokens[-STEPS:]
    seen = page.raw.evaluate(SEE, [prompt, shown(model)])
    assert [token if token >= 0 else IMAGE_TOKEN for token in seen] == prompt
    rows = [token for token in seen if token < 0]
    assert rows == list(range(-1, -1 - len(rows), -1))
    assert page.raw.evaluate(SEE, [prompt, shown(model)]) == seen  # they are not seen twice
    logits = np.array(page.raw.evaluate(REPLAY, answer[:-1]))
    wanted = fixture.logits[len(prompt) - 1 :]
    assert logits.shape == wanted.shape
    assert (np.abs(logits - wanted).max(axis=1) / np.ptp(wanted, axis=1)).max() < 1e-4
    assert page.raw.evaluate(GREEDY, [seen, STEPS])[0] == answer


@pytest.mark.parametrize(
    ("case", "tier"),
    [pytest.param("qwen3_vl", "base", marks=pytest.mark.sweep), ("qwen2_5_vl", "software")],
)
def test_a_bundle_is_checked_with_a_picture(page: ModelPage, site: Site, case: str, tier: str) -> None:
    report = page.validate(compiled(site, BY_NAME[case], "q4f32_1", tier), tier)
    assert report["ok"], report
    assert 0 < report["picture"]["relative_difference"] <= report["tolerance"]
    assert all(chat["ok"] for chat in report["chats"])


@pytest.mark.parametrize("name", [pytest.param("qwen3_5", marks=pytest.mark.sweep), "qwen3_vl"])
def test_what_the_kv_cache_holds_is_reused(page: ModelPage, site: Site, name: str) -> None:
    """Before, between, inside of and after pictures: what goes on from there is what a fresh start makes. The first
    model has recurrent layers too.
    """
    case = BY_NAME[name]
    page.raw.evaluate(LOAD, [f"./{compiled(site, case, 'q0f32', 'software')}/", "software"])
    fixture = expected(case)
    prompt = page.raw.evaluate(SEE, [fixture.tokens[:-STEPS], shown(case)])
    answer, words = fixture.tokens[-STEPS:], list(range(100, 109))
    picture = [i for i, token in enumerate(prompt) if token < 0]
    between = next(i for i, token in enumerate(prompt) if i > picture[0] and token >= 0)
    asked = {
        "the prompt": prompt,
        "after an answer": [*prompt, *answer, *words],
        "the prompt again": prompt,
        "between the pictures": [*prompt[: between + 4], *words],
        "both again": [*prompt, *words],
        "before the pictures": [*prompt[: picture[0] - 1], *words],
        "after those words": [*prompt[: picture[0] - 1], *words, *prompt[picture[0] :]],
        "inside of a picture": [*prompt[: picture[0] + 2], *words],
    }
    reused = {name: page.raw.evaluate(GREEDY, [tokens, STEPS])[0] for name, tokens in asked.items()}
    assert reused["the prompt"] == reused["the prompt again"] == answer
    for name, tokens in asked.items():
        page.raw.evaluate(RESET)
        assert page.raw.evaluate(GREEDY, [tokens, STEPS])[0] == reused[name], name
    assert len({tuple(tokens) for tokens in reused.values()}) > 4


def test_pictures_are_told_apart(page: ModelPage, site: Site) -> None:
    """Another picture in the same place: the KV cache of the first is not taken for it."""
    case = BY_NAME["qwen3_vl"]
    page.raw.evaluate(LOAD, [f"./{compiled(site, case, 'q0f32', 'software')}/", "software"])
    prompt = expected(case).tokens[:-STEPS]
    one, other = shown(case), shown(case, "cd")
    pixels = np.frombuffer(base64.b64decode(other[0]["rgb"]), np.uint8)
    other[0]["rgb"] = base64.b64encode((255 - pixels).tobytes()).decode()
    answers = []
    for given in (one, other, one):
        tokens = page.raw.evaluate(SEE, [prompt, given])
        answers.append(page.raw.evaluate(GREEDY, [tokens, STEPS])[0])
    assert answers[0] == answers[2] == expected(case).tokens[-STEPS:]
    assert answers[1] != answers[0]


def test_a_chat_about_a_picture(page: ModelPage, site: Site) -> None:
    case = BY_NAME["qwen3_vl"]
    page.raw.evaluate(LOAD, [f"./{compiled(site, case, 'q0f32', 'software')}/", "software"])
    first = page.raw.evaluate(CHAT, [100, 60, None, []])
    rows = 6 * 4  # of 16 pixels: the sides are rounded
    opening = "<|im_start|>user\n<|vision_start|>"
    closing = "<|vision_end|>What?<|im_end|>\n<|im_start|>assistant\n"
    assert first["prompt"] == f"{opening}{'<|image_pad|>' * rows}{closing}"
    turns = [{"role": "assistant", "content": first["text"]}, {"role": "user", "content": "And?"}]
    second = page.raw.evaluate(CHAT, [100, 60, None, turns])
    assert second["usage"]["extra"]["cached_prompt_tokens"] >= first["usage"]["prompt_tokens"]
    page.raw.evaluate(RESET)
    again = page.raw.evaluate(CHAT, [100, 60, None, turns])
    assert again["usage"]["extra"]["cached_prompt_tokens"] == 0
    assert again["logprobs"] == pytest.approx(second["logprobs"], abs=1e-4)


def test_pictures_of_odd_sizes(page: ModelPage, site: Site) -> None:
    """One pixel becomes a small picture, and a large one is scaled to what there is room for: half of the context."""
    case = BY_NAME["qwen3_vl"]
    page.raw.evaluate(LOAD, [f"./{compiled(site, case, 'q0f32', 'software')}/", "software"])
    counts = [
        page.raw.evaluate(CHAT, [width, height, detail, []])["prompt"].count("<|image_pad|>")
        for width, height, detail in ((1, 1, None), (1, 200, None), (2000, 1500, None), (2000, 1500, "low"))
    ]
    assert counts == [4, 29, 48, 48]
    assert page.raw.evaluate(CHAT, [20000, 10, None, []]) == {
        "code": "invalid-request",
        "message": "messages[0].content[0]: has 20000 x 10 pixels: one side is more than 200 times the other.",
    }


@pytest.mark.sweep
def test_forced_tokens_after_pictures(page: ModelPage, site: Site) -> None:
    """A constraint's tokens are fed in other ways: several at once, and one by one under a mask."""
    case = BY_NAME["qwen3_vl"]
    page.raw.evaluate(LOAD, [f"./{compiled(site, case, 'q0f32', 'base')}/", "base"])
    prompt = page.raw.evaluate(SEE, [expected(case).tokens[:-STEPS], shown(case)])
    answer = page.raw.evaluate(CONSTRAINED, [prompt, "zqzqzq[a-z]{4}"])
    assert len(answer) == 10
    following, cached = page.raw.evaluate(GREEDY, [[*prompt, *answer, 100], STEPS])
    assert cached >= len(prompt) + len(answer)
    page.raw.evaluate(RESET)
    assert page.raw.evaluate(GREEDY, [[*prompt, *answer, 100], STEPS])[0] == following
