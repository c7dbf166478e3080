"""Models that see, compiled and run in a browser, against transformers: logits after a picture of several tiles."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.images.cases import BY_NAME, CHUNK, CONTEXT, STEPS, ImageCase
from tests.fixtures.images.checkpoint import expected, make_folder, tiles
from tests.fixtures.images.kinds import IMAGE_TOKEN
from tests.support.browser.model_page import ModelPage, Site, open_model_page, serve_site
from tests.support.engine import needs_engine

pytestmark = [needs_engine, pytest.mark.slow]

LOAD = """async ([url, tier]) => {
  const { Engine } = await import("./mlcweb.js");
  await window.seeing?.unload();
  window.seeing = await Engine.load(url, { cache: false, selfCheck: false, tier });
  return window.seeing.info.images;
}"""
# The engine's own way from tiles on: what comes before is in runtime-js/test/images.test.ts.
SEE = """async ([prompt, pictures]) => {
  const engine = window.seeing;
  const seen = pictures.map(({ key, tiles }) => ({ key, rows: 1, columns: tiles.length - 1,
    tiles: tiles.map((tile) => Uint8Array.from(atob(tile), (c) => c.charCodeAt(0))) }));
  window.prompt = await engine.eyes.see(engine.held.answering(), prompt, seen, undefined);
  return window.prompt;
}"""
REPLAY = """async (following) =>
  (await window.seeing.replay(window.prompt, following)).map((logits) => Array.from(logits))"""
GREEDY = "async (count) => window.seeing.greedy(window.prompt, count)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("images") / "site"
    folder.mkdir()
    with serve_site(folder) as made:
        yield made


@pytest.fixture(scope="module")
def page(chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(chromium, site) as opened:
        yield opened


def compiled(site: Site, case: ImageCase, scheme: str, tier: str) -> str:
    sizes = {"context_length": CONTEXT, "prefill_chunk": CHUNK}
    return site.compiled(case.name, lambda folder: make_folder(folder, case), scheme, tier, **sizes)


def pictures(case: ImageCase, key: str = "one") -> list[dict[str, Any]]:
    """The prompt's, of which each has a key of its own."""
    encoded = [base64.b64encode(tile.tobytes()).decode() for tile in tiles(case)]
    return [
        {"key": f"{key} {i}", "tiles": encoded[i * case.tiles : (i + 1) * case.tiles]}
        for i in range(case.pictures)
    ]


@pytest.mark.parametrize(
    ("case", "tier"),
    [
        pytest.param("smolvlm2", "software", marks=pytest.mark.sweep),
        ("smolvlm_so400m", "software"),
        ("gemma3", "software"),
        pytest.param("gemma3", "base", marks=pytest.mark.sweep),
        pytest.param("smolvlm", "software", marks=pytest.mark.sweep),
        pytest.param("smolvlm", "base", marks=pytest.mark.sweep),
    ],
)
def test_logits_after_a_picture_are_transformers(page: ModelPage, site: Site, case: str, tier: str) -> None:
    model = BY_NAME[case]
    assert page.raw.evaluate(LOAD, [f"./{compiled(site, model, 'q0f32', tier)}/", tier]) is True
    fixture = expected(model)
    prompt, answer = fixture.tokens[:-STEPS], fixture.tokens[-STEPS:]
    seen = page.raw.evaluate(SEE, [prompt, pictures(model)])
    assert [token if token >= 0 else IMAGE_TOKEN for token in seen] == prompt
    rows = [token for token in seen if token < 0]
    assert rows == list(range(-1, -1 - len(rows), -1))
    assert page.raw.evaluate(SEE, [prompt, pictures(model)]) == seen  # it is not seen twice
    logits = np.array(page.raw.evaluate(REPLAY, answer[:-1]))
    wanted = fixture.logits[len(prompt) - 1 :]
    assert logits.shape == wanted.shape
    assert (np.abs(logits - wanted).max(axis=1) / np.ptp(wanted, axis=1)).max() < 1e-4
    assert page.raw.evaluate(GREEDY, STEPS) == answer


def test_a_bundle_is_checked_with_a_picture(page: ModelPage, site: Site) -> None:
    report = page.validate(compiled(site, BY_NAME["smolvlm"], "q4f32_1", "software"), "software")
    assert report["ok"], report
    assert 0 < report["picture"]["relative_difference"] <= report["tolerance"]
    assert all(chat["ok"] for chat in report["chats"])


@pytest.mark.sweep  # tests/browser/test_grids.py tells them apart too
def test_pictures_are_told_apart(page: ModelPage, site: Site) -> None:
    """Another picture in the same place: the KV cache of the first is not taken for it."""
    case = BY_NAME["smolvlm"]
    page.raw.evaluate(LOAD, [f"./{compiled(site, case, 'q0f32', 'software')}/", "software"])
    prompt = expected(case).tokens[:-STEPS]
    one, other = pictures(case, "one"), pictures(case, "other")
    other[0]["tiles"].reverse()
    answers = []
    for shown in (one, other, one):
        page.raw.evaluate(SEE, [prompt, shown])
        answers.append(page.raw.evaluate(GREEDY, STEPS))
    assert answers[0] == answers[2] == expected(case).tokens[-STEPS:]
    assert answers[1] != answers[0]
