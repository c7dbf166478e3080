"""What the CPU tier's kernels compute in lanes, against numpy: exponentials, logarithms, float16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import tirx

from mlcweb.kernels.cpu.builder import CpuKernel
from mlcweb.kernels.language.builder import Expr, call, exp, kernel, lane, load4, log, ramp4
from mlcweb.kernels.language.expr import T
from tests.support.browser.cpu_kernels import run_cpu

HALVES = np.arange(1 << 16, dtype=np.uint32)


@kernel
def fours(make: Callable[[CpuKernel, Expr], Expr], size: int, source: str, result: str) -> tirx.PrimFunc:
    k = CpuKernel("fours")
    x, y = k.buffer("x", (size,), source), k.output("y", (size,), result)
    at = k.parallel(size // 4) * 4
    k.store(y, ramp4(at), make(k, load4(x, at)))
    return k.finish()


def applied(
    page: Any, make: Callable[[CpuKernel, Expr], Expr], x: np.ndarray, result: str = "float32"
) -> np.ndarray:
    func = fours(make, x.size, str(x.dtype), result)
    found: np.ndarray = run_cpu(page, func, [x, np.zeros(x.size, result)])[1]
    return found


def each_lane(make: Callable[[Expr], Expr]) -> Callable[[CpuKernel, Expr], Expr]:
    return lambda k, x: T.Shuffle([make(k.let(lane(x, i))) for i in range(4)], [0, 1, 2, 3])


def test_exp(gpu_page: Any) -> None:
    x = np.concatenate([np.linspace(-87.3, 88.3, 20000), np.linspace(-1, 1, 20000)]).astype(np.float32)
    found = applied(gpu_page, lambda k, v: exp(v), x)
    np.testing.assert_allclose(found, np.exp(x.astype(np.float64)), rtol=2.5e-7)
    edges = np.array([-np.inf, -88, np.nan, 0, 100, np.inf, -0.0, -1000], np.float32)
    found = applied(gpu_page, each_lane(exp), edges)
    assert found[[0, 1, 7]].tolist() == [0, 0, 0] and np.isnan(found[2]) and found[[3, 6]].tolist() == [1, 1]
    assert (found[4:6] > 2e38).all()


def test_log(gpu_page: Any) -> None:
    x = np.concatenate([np.logspace(-37, 38, 20000), np.linspace(0.5, 2, 20000)]).astype(np.float32)
    found = applied(gpu_page, each_lane(log), x)
    np.testing.assert_allclose(found, np.log(x.astype(np.float64)), rtol=2e-7, atol=1.2e-7)


def test_every_float16_is_read(gpu_page: Any) -> None:
    low = each_lane(lambda word: lane(call("float32x2", "unpack2x16float", word), 0))
    high = each_lane(lambda word: lane(call("float32x2", "unpack2x16float", word), 1))
    expected = HALVES.astype(np.uint16).view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(applied(gpu_page, low, HALVES), expected)
    np.testing.assert_array_equal(applied(gpu_page, high, HALVES << 16), expected)


def test_float16_is_written_as_numpy_rounds_it(gpu_page: Any) -> None:
    halves = HALVES.astype(np.uint16).view(np.float16).astype(np.float32)
    halves = halves[np.isfinite(halves)]
    rng = np.random.default_rng(0)
    between = (halves[:-1] + halves[1:]) / 2  # ties
    some = rng.integers(0, 1 << 32, 1 << 16, dtype=np.uint32).view(np.float32)
    edges = np.array([65519.9, 65520, np.inf, -np.inf, np.nan], np.float32)
    x = np.concatenate([halves, between, some, edges])
    x = np.pad(x, (0, -x.size % 4))

    def packed(k: CpuKernel, value: Expr) -> Expr:
        words = [call("uint32", "pack2x16float", T.Shuffle([value], pair)) for pair in ([0, 1], [2, 3])]
        zero = tirx.const(0, "uint32")
        return T.Shuffle([*words, zero, zero], [0, 1, 2, 3])

    found = applied(gpu_page, packed, x, "uint32").reshape(-1, 4)[:, :2].reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(np.float16)
    found = np.ascontiguousarray(found).view(np.float16)
    np.testing.assert_array_equal(found, expected)
