"""A load checks the kernels on the device, and steps down from those that are wrong: each is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.broken_kernels import (
    break_kernels,
    lying_subgroups,
    no_number,
    overflow,
    race,
    wrong_sum,
)
from tests.support.browser.model_page import ModelPage, Site, open_model_page, serve_site
from tests.support.engine import needs_engine
from tests.support.tiny import TinyLlama

pytestmark = [needs_engine, pytest.mark.slow]

LOAD = """async ([url, options]) => {
  const { Engine } = await import("./mlcweb.js");
  const warnings = [];
  try {
    const engine = await Engine.load(url, { ...options, onWarning: (warning) => warnings.push(warning) });
    const { tier, activations, timings, memory } = engine.info;
    const answer = await engine.greedy([5, 6, 7], 4);
    await engine.unload();
    return { tier, activations, checked: timings.check_s > 0, answer, warnings };
  } catch (error) {
    return { code: error.code, message: error.message, warnings };
  }
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("checked") / "site"
    folder.mkdir()
    with serve_site(folder) as made:
        yield made


@pytest.fixture(scope="module")
def page(chromium: Path, site: Site) -> Iterator[ModelPage]:
    with open_model_page(chromium, site) as opened:
        yield opened


def load(page: ModelPage, bundle: str, **options: Any) -> Any:
    return page.raw.evaluate(LOAD, [f"./{bundle}/", {"cache": False, **options}])


def broken(
    site: Site, tiers: tuple[str, ...], change: Callable[[str], str], kv_cache_dtype: str | None = None
) -> str:
    """A bundle whose first tier is broken."""
    name = f"{change.__name__}-{'-'.join(tiers)}"
    served = site.bundle(
        name, TinyLlama(), "q4f32_1", tiers=tiers, evaluate=False, kv_cache_dtype=kv_cache_dtype
    )
    if not (site.folder / served / "broken").exists():
        break_kernels(site.folder / served, tiers[0], change)
        (site.folder / served / "broken").touch()
    return served


@pytest.mark.parametrize(
    ("tiers", "change", "says"),
    [
        (("software", "base"), wrong_sum, "% off"),
        pytest.param(("software", "base"), no_number, "no finite numbers", marks=pytest.mark.sweep),
        pytest.param(("base", "software"), race, "", marks=pytest.mark.sweep),
        pytest.param(("subgroups", "base"), lying_subgroups, "off", marks=pytest.mark.sweep),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_wrong_is_not_used(
    page: ModelPage, site: Site, tiers: tuple[str, ...], change: Callable[[str], str], says: str
) -> None:
    bundle = broken(site, tiers, change)
    first, then = tiers
    if first == "base":  # on a software adapter the other tier comes first
        found = load(page, bundle, tier=first)
        assert found["code"] == "wrong-results" and "The tier base" in found["message"], found
    else:
        found = load(page, bundle)
        assert (found["tier"], found["checked"]) == (then, True), found
    (warning,) = found["warnings"]
    assert warning["code"] == "wrong-results"
    assert f"tier {first} computes wrong results" in warning["message"] and says in warning["message"]
    # who does not want to know gets what was asked for
    unchecked = load(page, bundle, tier=first, selfCheck=False)
    assert unchecked["warnings"] == [] and unchecked.get("tier", first) == first


def test_an_overflow_of_16_bits(page: ModelPage, site: Site) -> None:
    bundle = broken(site, ("software",), overflow, kv_cache_dtype="float16")
    found = load(page, bundle)
    assert found["code"] == "wrong-results" and "every tier" in found["message"], found


def test_a_verdict_is_kept_with_the_bundle(page: ModelPage, site: Site) -> None:
    bundle = broken(site, ("subgroups", "base"), lying_subgroups)
    first, again = (load(page, bundle, cache=True) for _ in range(2))
    assert first["tier"] == again["tier"] == "base" and first["answer"] == again["answer"]
    assert (first["checked"], again["checked"]) == (True, False)
    assert [warning["code"] for warning in again["warnings"]] == ["wrong-results"]


def test_what_is_right_is_checked_once(page: ModelPage, site: Site) -> None:
    bundle = site.bundle("right", TinyLlama(), "q4f32_1", tiers=("software",), evaluate=False)
    loads = [load(page, bundle, cache=True) for _ in range(2)]
    assert [(found["tier"], found["checked"], found["warnings"]) for found in loads] == [
        ("software", True, []),
        ("software", False, []),
    ]


# SwiftShader, under the name of a GPU.
AS_A_GPU = """for (const [name, value] of Object.entries(
    { vendor: 'acme', architecture: 'a1', device: 'one', description: '', isFallbackAdapter: false }))
  Object.defineProperty(GPUAdapterInfo.prototype, name, { get: () => value });"""


def test_the_last_step_down_is_to_the_cpu(chromium: Path, site: Site) -> None:
    served = broken(site, ("base", "wasm"), no_number)
    with open_model_page(chromium, site, script=AS_A_GPU) as page:
        found = load(page, served)
        assert [warning["code"] for warning in found["warnings"]] == ["wrong-results"], found
        assert "tier base" in found["warnings"][0]["message"]
        assert (found["tier"], found["checked"]) == ("wasm", True)
        assert found["answer"] == load(page, served, tier="wasm")["answer"]
