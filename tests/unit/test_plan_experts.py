"""A mixture's launches, planned: experts in several ranges write one tensor in place, within default limits."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tvm.relax.frontend import nn

from mlcweb.kernels.choice.tier import GPU_TIERS, Tier
from mlcweb.kernels.experts.mixture import Mixture
from mlcweb.kernels.experts.weights import Experts
from mlcweb.kernels.layouts.kv_cache import HeadLayout
from mlcweb.kernels.layouts.storage import Values, Vector, matrix
from mlcweb.kernels.ops import Array, Operations
from mlcweb.kernels.ops.entries import entry_points
from mlcweb.kernels.products.matvec import Norm
from mlcweb.lower import Entries, lower_entries
from mlcweb.plan import Plan, build_plan
from mlcweb.quantize import Scheme, get_scheme
from tests.support.limits import check
from tests.support.lowered import CHUNK
from tests.support.plan_faults import faults

pytestmark = pytest.mark.slow

VOCAB, HIDDEN, INNER = 64, 96, 132
RANGES = [range(0, 3), range(3, 5), range(5, 8)]


class OneMixture(nn.Module):
    """Embeddings, a mixture onto them, and a head."""

    def __init__(self, scheme: Scheme, tier: Tier) -> None:
        def experts(rows: int, columns: int) -> Experts:
            return Experts(
                [matrix(len(span) * rows, columns, scheme.stored(""), tier) for span in RANGES], RANGES
            )

        self.layout, self.images = HeadLayout(1, 1, 16, 4), None
        self.embed = matrix(VOCAB, HIDDEN, scheme.stored(""), tier)
        self.norm = Vector(HIDDEN, scheme.activation, tier)
        self.router = Values((8, HIDDEN), scheme.activation, tier)
        self.gate_up, self.down = experts(2 * INNER, HIDDEN), experts(HIDDEN, INNER)

    def forward(self, ops: Operations[Array]) -> Array:
        x, norm = ops.embed(self.embed), Norm(self.norm, 1e-5)
        x = ops.moe(x, norm, Mixture(self.router, self.gate_up, self.down, 2), residual=x)
        return ops.head(x, norm, self.embed)


def planned(scheme: str, tier: Tier) -> tuple[Entries, Plan]:
    quant = get_scheme(scheme)
    model = OneMixture(quant, tier)
    points = entry_points(quant, tier)
    entries = lower_entries(model, tier, points, vocab=VOCAB, context=64, chunk=CHUNK)
    return entries, build_plan(entries, tier)


@pytest.mark.parametrize(
    ("scheme", "tier"),
    [("q4f16_1", tier) for tier in GPU_TIERS]
    + [("q0f32", GPU_TIERS[2]), ("q8f32_1", GPU_TIERS[3]), ("q3f16_1", GPU_TIERS[4])],
    ids=lambda v: v.name if isinstance(v, Tier) else v,
)
def test_ranges_write_one_tensor_in_place(scheme: str, tier: Tier) -> None:
    entries, plan = planned(scheme, tier)
    assert faults(entries, plan) == []
    for kernel in plan.kernels:
        check(kernel, CHUNK)
    for entry in plan.entries:
        for product in ("gate_up", "down"):
            written = _written(plan, entry, f"experts_{product}")
            assert len(written) == (
                0 if entry.name in ("penalize", "mask", "sample", "count") else len(RANGES)
            )
            assert len(set(written)) <= 1
        for kernel in plan.to_json()["kernels"]:
            chosen = (
                {"experts": 8, "choices": 2} if re.search("experts_(gate_up|down)", kernel["name"]) else None
            )
            assert kernel.get("reads") == chosen
        rounded = any("int8_experts_gate_up" in plan.kernels[x.kernel].name for x in entry.launches)
        assert rounded == (entry.name == "prefill_int8")


def _written(plan: Plan, entry: Any, op: str) -> list[int]:
    """The buffer that each launch of an operation writes."""
    written = []
    for launch in entry.launches:
        kernel = plan.kernels[launch.kernel]
        if launch.op == op:
            (buffer,) = [b for b, writes in zip(launch.args, kernel.writes, strict=True) if writes]
            written.append(buffer)
    return written
