"""Which adapters count as a CPU, and the order of the tiers there; the engine's test has the same cases."""

from __future__ import annotations

from typing import Any

import pytest

from mlcweb.browser.adapter import LIMITS, from_report, is_software, tiers_for
from mlcweb.errors import BrowserError


@pytest.mark.parametrize(
    ("name", "fallback", "subgroups", "software"),
    [
        ("", True, 0, True),
        ("swiftshader", False, 4, True),
        ("llvmpipe (LLVM 19.1.7, 256 bits)", False, 8, True),
        ("valhall", False, 16, False),
        ("swiftshader", True, 32, False),
    ],
)
def test_a_cpu_is_known_by_the_browsers_word_or_by_name(
    name: str, fallback: bool, subgroups: int, software: bool
) -> None:
    assert is_software(["", name, ""], fallback, subgroups) is software


def test_tiers_for_a_cpu_are_first_on_one_and_last_on_a_gpu() -> None:
    features = ["shader-f16", "subgroups"]
    gpu = ["f16-subgroups", "f16", "subgroups", "base"]
    assert tiers_for(features, software=True) == ["wasm", "software", *gpu]
    assert tiers_for(features, software=False) == [*gpu, "software", "wasm"]
    assert tiers_for([], software=True) == ["wasm", "base"]


ADAPTER = {"vendor": "v", "architecture": "a", "device": "", "description": "a", "fallback": False}
REPORT: dict[str, Any] = {
    "adapter": {**ADAPTER, "software": True},
    "features": ["subgroups"],
    "limits": {**dict.fromkeys(LIMITS, 8), "maxBindGroups": 4},
    "subgroupSizes": [4, 8],
    "tiers": ["software", "base"],
    "error": None,
}


def test_the_engines_report_becomes_an_adapter() -> None:
    adapter = from_report("Chrome/1", REPORT)
    assert (adapter.name, adapter.software, adapter.tiers) == ("v a", True, ["software", "base"])
    assert (adapter.subgroup_min, adapter.subgroup_max) == (4, 8)
    assert adapter.limits == dict.fromkeys(LIMITS, 8)
    without = from_report("Chrome/1", {**REPORT, "subgroupSizes": None})
    assert (without.subgroup_min, without.subgroup_max) == (0, 0)


def test_the_engines_reason_for_no_adapter_is_told() -> None:
    error = {"code": "no-webgpu", "message": "This browser has no WebGPU.", "hint": "Use another."}
    with pytest.raises(BrowserError, match="Chrome/1: This browser has no WebGPU") as raised:
        from_report("Chrome/1", {**REPORT, "adapter": None, "error": error})
    assert raised.value.hint == "Use another."
