"""Runs the CPU tier's kernels in a real browser, each as two threads would: in two ranges of its grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlcweb.lower.host import host_kernel
from mlcweb.plan.sizes import substitute
from mlcweb.wasm.module import compile_kernels, link
from tests.support.browser.wasm_page import Wasm


def run_cpu(
    page: Any,
    kernel: Any,
    args: list[npt.NDArray[Any]],
    *scalars: int,
    relaxed: bool = False,
    **sizes: int,
) -> list[npt.NDArray[Any]]:
    """Every buffer afterwards; ``args`` has the kernel's, outputs included."""
    host = host_kernel(kernel)
    wasm = Wasm(page, link([compile_kernels({"kernel": kernel}, relaxed=relaxed)], ["kernel"]))
    grid = int(substitute(host.grid, dict(sizes)))
    cut = grid // 3  # of unequal threads
    numbers = [*(sizes[name] for name in host.sizes), *scalars]
    call = ("kernel", [*map(np.ascontiguousarray, args), *numbers])
    return wasm.run([call], [[cut, grid], [0, cut]])[0]
