"""Every GGUF type as it is: what kernels read and multiply, against the gguf library's values.

Each type has each operation on some of the tiers, in turn: what a type reads and what a tier differs in have little to
do with each other. ``make gguf`` runs all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from bench.synthetic.gguf_types import FLOATS, QUANTIZED
from mlcweb.kernels.choice.tier import BASE, F16, F16_SUBGROUPS, SOFTWARE, SUBGROUPS, Tier
from tests.support.browser import gguf_kernels as kernels
from tests.support.browser.kernel_values import close

BOTH = [("stock", BASE), ("f16", F16)]
EVERY = [*BOTH, ("stock", SUBGROUPS), ("f16", F16_SUBGROUPS), ("stock", SOFTWARE)]


def in_turn(kinds: Sequence[str], tiers: Sequence[tuple[str, Tier]], each: int = 1) -> Any:
    """The types, each on so many of the (browser, tier)."""
    cases = [
        pytest.param(browser, kind, tier, id=f"{kind}-{tier.name}-{browser}")
        for i, kind in enumerate(kinds)
        for browser, tier in (tiers[(each * i + j) % len(tiers)] for j in range(each))
    ]
    return pytest.mark.parametrize(("browser", "kind", "tier"), cases)


@in_turn([*QUANTIZED, *FLOATS], BOTH)
def test_rows_are_the_librarys_bit_for_bit(kernel_page: Any, kind: str, tier: Tier) -> None:
    np.testing.assert_array_equal(*kernels.rows(kernel_page, kind, tier))


@in_turn([*QUANTIZED, *FLOATS], EVERY, each=2)
def test_decode(kernel_page: Any, kind: str, tier: Tier) -> None:
    close(*kernels.decode(kernel_page, kind, tier), 2e-5)


@in_turn([*QUANTIZED, *FLOATS], [*BOTH, ("stock", SOFTWARE)])
def test_prefill(kernel_page: Any, kind: str, tier: Tier) -> None:
    # f16 tiers round both tiles to 11 bits
    close(*kernels.prefill(kernel_page, kind, tier), 3e-3 if tier.f16 else 2e-5)


@in_turn(QUANTIZED, [*reversed(BOTH)])
def test_prefill_with_int8_activations(kernel_page: Any, kind: str, tier: Tier) -> None:
    close(*kernels.prefill_int8(kernel_page, kind, tier), 2e-5)


@in_turn(QUANTIZED[::3], [("f16", F16_SUBGROUPS)])
def test_prefill_on_subgroup_matrices(kernel_page: Any, kind: str, tier: Tier) -> None:
    close(*kernels.prefill_matrix(kernel_page, kind, tier), 3e-3)
