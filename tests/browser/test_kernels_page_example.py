"""docs/add-a-kernel.md: its kernel, tested as the page tests it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choice.tier import BASE
from tests.support.browser.kernel_page import run_kernel
from tests.support.kernel_example import TEST, scale_rows


@pytest.mark.parametrize("browser", ["stock"])
def test_the_pages_test_passes_and_can_fail(kernel_page: Any) -> None:
    names = {
        "np": np,
        "BASE": BASE,
        "run_kernel": run_kernel,
        "kernel_page": kernel_page,
        "scale_rows": scale_rows,
    }
    exec(TEST, dict(names))
    wrong = TEST.replace("scale_rows(100, 0.3)", "scale_rows(100, 0.4)")
    assert wrong != TEST
    with pytest.raises(AssertionError):
        exec(wrong, dict(names))
