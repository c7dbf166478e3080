"""The engine's own choice of prefill's activations: measured where the adapter seems a GPU, kept, and followed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser.model_page import ModelPage, Site, open_model_page
from tests.support.engine import needs_engine
from tests.support.llama_cases import CASES

pytestmark = needs_engine

# The engine measures nothing on a CPU: this one says that it is none.
GPU = "Object.defineProperty(GPUAdapterInfo.prototype, 'subgroupMinSize', { get: () => 32 });"
CHOICES = """async (put) => {
  const cache = await caches.open('mlcweb-v1');
  const keys = (await cache.keys()).filter((request) => request.url.includes('/choice/'));
  if (put) for (const key of keys) await cache.put(key, new Response(put));
  return Promise.all(keys.map(async (key) => (await cache.match(key)).text()));
}"""


@pytest.fixture(scope="module")
def page(chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(chromium, site, GPU) as opened:
        yield opened


def test_it_is_measured_once_and_kept_with_the_bundle(page: ModelPage, site: Site) -> None:
    bundle = site.bundle("tied", CASES["tied"], "q4f32_1")
    first = page.load(bundle, tier="subgroups", cache=True)
    assert first["activations"] in ("float", "int8")
    # where the machine is too busy for it to be sure, another load has to agree
    assert page.raw.evaluate(CHOICES, None) in ([first["activations"]], [f"{first['activations']}?"])
    assert {one["activations"] for one in first["timings"]["choice"]["timed"]} == {"float", "int8"}
    other = "int8" if first["activations"] == "float" else "float"
    assert page.raw.evaluate(CHOICES, other) == [other]
    page.loaded = "", {}
    kept = page.load(bundle, tier="subgroups", cache=True)
    assert kept["activations"] == other and kept["timings"].get("choice") is None
    assert page.load(bundle, tier="subgroups", cache=True, activations="float")["activations"] == "float"
    page.raw.evaluate(CHOICES, "nonsense")
    page.loaded = "", {}
    assert page.load(bundle, tier="subgroups", cache=True)["activations"] in ("float", "int8")
    assert page.raw.evaluate(CHOICES, None) != ["nonsense"]


def test_a_model_without_int8_says_so(page: ModelPage, site: Site) -> None:
    bundle = site.bundle("tied", CASES["tied"], "q0f32", prefill_chunk=16)
    assert page.load(bundle, tier="subgroups")["activations"] == "float"
    error = page.call("load", f"./{bundle}/", {"cache": False, "tier": "subgroups", "activations": "int8"})[
        "error"
    ]
    assert error["code"] == "invalid-request" and "int8" in error["message"]
