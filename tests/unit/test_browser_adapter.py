"""Which adapters count as a CPU, and the order of the tiers there; the engine's test has the same cases."""

from __future__ import annotations

import pytest

from mlcweb.browser.adapter import Adapter


def adapter(
    architecture: str = "",
    description: str = "",
    fallback: bool = False,
    subgroups: int = 0,
    features: tuple[str, ...] = (),
) -> Adapter:
    return Adapter(
        "Chrome/1", "", architecture, "", description, fallback, subgroups, subgroups, list(features)
    )


@pytest.mark.parametrize(
    ("made", "software"),
    [
        (adapter(fallback=True), True),
        (adapter("swiftshader", subgroups=4), True),
        (adapter(description="llvmpipe (LLVM 19.1.7, 256 bits)", subgroups=8), True),
        (adapter("valhall", subgroups=16), False),
        (adapter("swiftshader", fallback=True, subgroups=32), False),
    ],
)
def test_a_cpu_is_known_by_the_browsers_word_or_by_name(made: Adapter, software: bool) -> None:
    assert made.software is software


def test_the_software_tier_is_first_on_a_cpu_and_last_on_a_gpu() -> None:
    features = ("shader-f16", "subgroups")
    gpu = ["f16-subgroups", "f16", "subgroups", "base"]
    assert adapter("swiftshader", subgroups=4, features=features).tiers == ["software", *gpu]
    assert adapter("hopper", subgroups=32, features=features).tiers == [*gpu, "software"]
    assert adapter(fallback=True).tiers == ["base"]
