"""The profiler on a tiny model: every launch accounted for, whatever clock there is."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mlcweb.bundle import open_bundle
from mlcweb.cli.command import run
from mlcweb.profile import Profile
from tests.support.browser.model_page import open_model_page, serve_site
from tests.support.engine import needs_engine
from tests.support.tiny import TinyLlama

pytestmark = needs_engine

MODEL = TinyLlama()
CONTEXT, CHUNK = 40, 16


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with serve_site(folder) as site:
        return folder / site.bundle("profiled", MODEL, "q4f32_1", prefill_chunk=CHUNK)


def check_accounts(document: dict[str, Any], bundle: Path) -> None:
    """Launches are the plan's, and the work is the model's."""
    plan = open_bundle(bundle).plan(document["tier"])
    names = [kernel["name"] for kernel in plan["kernels"]]
    for part, entries in (("decode", ("decode", "sample")), ("prefill", ("prefill",))):
        launched = [names[x["kernel"]] for entry in entries for x in plan["entries"][entry]["launches"]]
        found = document[part]
        assert [launch["kernel"] for launch in found["timeline"]["launches"]] == launched
        assert {k["name"]: k["launches"] for k in found["kernels"]} == Counter(launched)
        assert found["dispatches"] == len(launched)
        assert found["microseconds"] > 0 and found["encode_microseconds"] >= 0
        assert all(kernel["microseconds"] > 0 for kernel in found["kernels"])
    matrices = 64 * 64 * 2 + 2 * 32 * 64 + 3 * 64 * 96  # of a layer: q and o, k and v, the MLP's
    head = 320 * 64
    attention = 4 * MODEL.heads * MODEL.head_dim * MODEL.layers
    decode = 2 * (2 * matrices + head) + attention * (CONTEXT + 1)
    prefill = 2 * (2 * matrices * CHUNK + head) + attention * CHUNK * (CHUNK + 1) // 2
    for part, expected in (("decode", decode), ("prefill", prefill)):
        assert sum(kernel["flops"] for kernel in document[part]["kernels"]) == expected
    weights = sum(k["weight_bytes"] for k in document["decode"]["kernels"])
    assert weights == pytest.approx(open_bundle(bundle).manifest.weights.bytes, rel=0.25), (
        "rope's are not read"
    )
    assert document["device"]["f32_flops_per_s"] > 1e6
    assert document["device"]["copy"][-1] == {
        "bytes": 1 << 26,
        "bytes_per_s": pytest.approx(document["device"]["copy"][-1]["bytes_per_s"]),
    }


def test_the_command_profiles_and_draws(
    bundle: Path, chromium: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    svg = tmp_path / "timeline.svg"
    size = ["--prefill", str(CHUNK), "--context", str(CONTEXT), "--repeats", "1"]
    code = run(["bench", str(bundle), "--profile", *size, "--svg", str(svg), "--format", "json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    document = json.loads(out)
    check_accounts(document, bundle)
    assert (document["timing"], document["rounded_timestamps"]) == ("timestamps", False)
    assert document["device"]["f16_flops_per_s"] is None
    assert document["decode"]["timeline"]["source"] in ("stamps", "passes")
    assert document["browser"].startswith("Chrome/")
    assert Profile.from_json(document).document == document
    assert ET.parse(svg).getroot().tag.endswith("svg")


def test_without_timestamps_chains_are_timed_by_the_clock(
    bundle: Path, chromium: Path, tmp_path: Path
) -> None:
    with serve_site(tmp_path) as site, open_model_page(chromium, site) as page:
        (tmp_path / "b").symlink_to(bundle)
        page.load("b", profile=True, tier="base")
        greedy = page.right("greedy", [1, 2, 3], 4)["tokens"]
        size = {"context": CONTEXT, "prefill": CHUNK, "repeats": 1}
        actual = page.right("profile", {**size, "timing": "wall"})
        assert (actual["timing"], actual["rounded_timestamps"]) == ("wall", False)
        assert actual["decode"]["timeline"]["source"] == "chains"
        check_accounts(actual, bundle)
        for wrong in ({"context": 500}, {"prefill": 0}, {"repeats": 1.5}):
            error = page.call("profile", {**size, **wrong})["error"]
            assert error["code"] == "invalid-request" and next(iter(wrong)) in error["message"]
        assert greedy == page.right("greedy", [1, 2, 3], 4)["tokens"], "profiling leaves a usable model"


@pytest.mark.sweep
def test_float16_is_measured_where_the_device_has_it(
    bundle: Path, f16_chromium: Path, tmp_path: Path
) -> None:
    """Also for a tier that does not use it."""
    with serve_site(tmp_path) as site, open_model_page(f16_chromium, site) as page:
        (tmp_path / "b").symlink_to(bundle)
        page.load("b", profile=True, tier="subgroups")
        actual = page.right("profile", {"context": CONTEXT, "prefill": CHUNK, "repeats": 1})
        assert actual["device"]["f16_flops_per_s"] > 1e6
