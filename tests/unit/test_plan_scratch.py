"""Scratch memory: no launch reads a buffer that was overwritten since the value that it needs was put there.

The planned Relax function names every value; replaying a plan against it finds any two that share a buffer while
both are needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mlcweb.kernels.choice.tier import BASE, SUBGROUPS, Tier
from tests.support.lowered import CHUNK, SHAPES, VARIANTS, lowered
from tests.support.plan_faults import faults

pytestmark = pytest.mark.slow  # it walks every plan


@pytest.mark.parametrize(("scheme", "tier"), VARIANTS, ids=lambda v: v.name if isinstance(v, Tier) else v)
@pytest.mark.parametrize("shape", ["tiny", "tiny-untied", "SmolLM2-135M"])
def test_no_value_is_overwritten_before_its_last_read(shape: str, scheme: str, tier: Tier) -> None:
    assert faults(*lowered(shape, scheme, tier)) == []


def test_scratch_is_reused() -> None:
    """By layers and by entries: it must not grow with either."""
    _, plan = lowered("tiny", "q4f32_1", SUBGROUPS)
    tiny = SHAPES["tiny"]
    scratch = [b.bytes for b in plan.buffers if b.kind == "scratch"]
    widest = CHUNK * max(tiny.intermediate, (tiny.heads + 2 * tiny.kv_heads) * tiny.head_dim) * 4
    assert len(scratch) <= 8 and max(scratch) <= 2 * widest
    prefill = plan.entries[0]
    assert len(scratch) < sum(any(plan.kernels[launch.kernel].writes) for launch in prefill.launches)


def test_the_check_finds_what_is_wrong() -> None:
    entries, plan = lowered("tiny", "q4f32_1", BASE)
    scratch = [i for i, b in enumerate(plan.buffers) if b.kind == "scratch"]

    def changed(change: Any) -> list[str]:
        made = [
            replace(
                entry,
                launches=[replace(x, args=tuple(change(a) for a in x.args)) for x in entry.launches],
            )
            for entry in plan.entries
        ]
        return faults(entries, replace(plan, entries=made))

    assert changed(lambda a: a) == []
    merged = changed(lambda a: scratch[0] if a in scratch else a)
    assert any("no longer holds" in fault for fault in merged)
    assert any("bound twice" in fault for fault in merged)
    small = replace(plan, buffers=[replace(b, bytes=16) if b.kind == "scratch" else b for b in plan.buffers])
    assert any("of" in fault and "bytes" in fault for fault in faults(entries, small))
    swapped = changed(lambda a: scratch[-1] if a == scratch[0] else scratch[0] if a == scratch[-1] else a)
    assert all("no longer" not in fault for fault in swapped), (
        "another name for the same buffers is no fault of order"
    )
