"""Every GGUF type as it is: what kernels of each tier read and multiply, against the gguf library's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.synthetic.gguf_types import FLOATS, QUANTIZED
from mlcweb.kernels.choice.tier import BASE, F16, F16_SUBGROUPS, SOFTWARE, SUBGROUPS, Tier
from tests.support.browser import gguf_kernels as kernels
from tests.support.browser.kernel_values import close, on

KINDS = [*QUANTIZED, *FLOATS]
BOTH = [*on("stock", BASE), *on("f16", F16)]
EVERY = [*BOTH, *on("stock", SUBGROUPS), *on("f16", F16_SUBGROUPS), *on("stock", SOFTWARE)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("browser", "tier"), BOTH)
def test_rows_are_the_librarys_bit_for_bit(kernel_page: Any, kind: str, tier: Tier) -> None:
    np.testing.assert_array_equal(*kernels.rows(kernel_page, kind, tier))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("browser", "tier"), EVERY)
def test_decode(kernel_page: Any, kind: str, tier: Tier) -> None:
    close(*kernels.decode(kernel_page, kind, tier), 2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("browser", "tier"), [*BOTH, *on("stock", SOFTWARE)])
def test_prefill(kernel_page: Any, kind: str, tier: Tier) -> None:
    # f16 tiers round both tiles to 11 bits
    close(*kernels.prefill(kernel_page, kind, tier), 3e-3 if tier.f16 else 2e-5)


@pytest.mark.parametrize("kind", QUANTIZED)
@pytest.mark.parametrize(("browser", "tier"), BOTH)
def test_prefill_with_int8_activations(kernel_page: Any, kind: str, tier: Tier) -> None:
    close(*kernels.prefill_int8(kernel_page, kind, tier), 2e-5)


@pytest.mark.parametrize("kind", QUANTIZED)
@pytest.mark.parametrize(("browser", "tier"), on("f16", F16_SUBGROUPS))
def test_prefill_on_subgroup_matrices(kernel_page: Any, kind: str, tier: Tier) -> None:
    close(*kernels.prefill_matrix(kernel_page, kind, tier), 3e-3)
