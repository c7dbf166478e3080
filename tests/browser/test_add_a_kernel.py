"""docs/add-a-kernel.md: its kernel, tested as the page tests it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlcweb.kernels.choice.tier import BASE
from tests.support.browser.kernel_page import run_kernel
from tests.unit.test_add_a_kernel import PAGE, page_kernel
from tests.unit.test_docs import blocks_of


@pytest.mark.parametrize("browser", ["stock"])
def test_the_pages_test_passes(kernel_page: Any) -> None:
    _, test = (block.text for block in blocks_of(PAGE) if block.language == "python")
    names = {"np": np, "BASE": BASE, "run_kernel": run_kernel, "kernel_page": kernel_page}
    exec(test, {**names, "scale_rows": page_kernel()})
    wrong = test.replace("scale_rows(100, 0.3)", "scale_rows(100, 0.4)")
    assert wrong != test
    with pytest.raises(AssertionError):
        exec(wrong, {**names, "scale_rows": page_kernel()})
