"""naga, Firefox's WGSL compiler, takes every kernel of the tiers without subgroups, which are those that Firefox runs.

It refuses `enable subgroups` (gfx-rs/wgpu#5555), so that Firefox has no such feature to offer.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlcweb.kernels.choice.tier import BASE, F16, SUBGROUPS, Tier
from tests.fixtures.models.cases import CASES
from tests.fixtures.models.plans import plan_of
from tests.support.browser.vulkan import Vulkan, vulkan_of

pytestmark = pytest.mark.skipif(importlib.util.find_spec("wgpu") is None, reason="wgpu is not installed")

NAGA = Path(__file__).parents[1] / "support" / "browser" / "naga.py"
FIRST = {case.text_architecture: case.name for case in reversed(CASES)}
FEATURES = {"shader-f16": "shader-f16", "subgroups": "subgroup"}  # WebGPU's names, and wgpu's


def kernels(name: str, quantization: str, tier: Tier) -> dict[str, str]:
    return {kernel.name: kernel.wgsl for kernel in plan_of(name, quantization, tier).kernels}


def refused(vulkan: Vulkan, folder: Path, wgsl: dict[str, str], tier: Tier) -> dict[str, str]:
    command = [sys.executable, NAGA, *(FEATURES[f] for f in tier.features)]
    environment = {**os.environ, **vulkan.environment(folder)}
    done = subprocess.run(
        command, input=json.dumps(wgsl), capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    messages: dict[str, str] = json.loads(done.stdout)
    return messages


@pytest.mark.parametrize("name", FIRST.values(), ids=FIRST)
def test_it_takes_every_architecture(chromium: Path, tmp_path: Path, name: str) -> None:
    wgsl = kernels(name, "q4f32_1", BASE)
    assert len(wgsl) > 15
    assert refused(vulkan_of(chromium), tmp_path, wgsl, BASE) == {}


@pytest.mark.parametrize("scheme", ["q0f16", "q3f16_1", "q4f16_1", "q8f16_1"])
def test_it_takes_float16(f16_chromium: Path, tmp_path: Path, scheme: str) -> None:
    wgsl = kernels("llama-3.2", scheme, F16)
    assert any("enable f16;" in text for text in wgsl.values())
    assert refused(vulkan_of(f16_chromium), tmp_path, wgsl, F16) == {}


def test_it_still_refuses_subgroups(chromium: Path, tmp_path: Path) -> None:
    """When it no longer does, the tiers with subgroups belong into these tests, and the docs change."""
    wgsl = kernels("llama-3.2", "q4f32_1", SUBGROUPS)
    said = refused(vulkan_of(chromium), tmp_path, wgsl, SUBGROUPS)
    assert list(said) == list(wgsl)
    assert all("`subgroups` enable-extension" in one for one in said.values())
