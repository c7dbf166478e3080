"""Launch tables of a tiny model, in a real browser, against the expressions that they were compiled from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcweb.errors import CompileError
from mlcweb.kernels.choice.tier import F16_SUBGROUPS, SUBGROUPS
from mlcweb.kernels.ops.entries import entry_points
from mlcweb.lower import lower_entries
from mlcweb.models.families.llama.llama import Llama, LlamaConfig
from mlcweb.plan import Plan, build_plan
from mlcweb.plan.sizes import substitute
from mlcweb.quantize import get_scheme
from mlcweb.wasm import build_wasm
from tests.support.browser.wasm_page import Wasm
from tests.support.tiny import TinyLlama

CHUNK = 200


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    tiny = TinyLlama(layers=1)
    config = LlamaConfig.from_hf(tiny.hf_config())
    made = []
    for tier in (F16_SUBGROUPS, SUBGROUPS):
        scheme = get_scheme("q4f16_1")
        model, points = Llama(config, scheme, tier, 256), entry_points(scheme, tier)
        entries = lower_entries(model, tier, points, vocab=tiny.vocab, context=256, chunk=CHUNK)
        made.append(build_plan(entries, tier))
    return made


@pytest.fixture(scope="module")
def wasm(gpu_page: Any, plans: list[Plan]) -> Wasm:
    return Wasm(gpu_page, build_wasm(plans))


def test_it_imports_nothing_and_exports_what_the_format_says(wasm: Wasm, plans: list[Plan]) -> None:
    imports, exports = wasm.names()
    launches = [entry["launch"] for plan in plans for entry in plan.to_json()["entries"].values()]
    assert launches[0] == "f16_subgroups_prefill" and len(set(launches)) == 16
    assert imports == []
    assert exports == sorted(["memory", "__heap_base", "host_sample", *launches])


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 31, 32, 33, 64, 127, 129, CHUNK])
def test_tables_hold_grids_and_uniforms(n: int, wasm: Wasm, plans: list[Plan]) -> None:
    for plan in plans:
        for entry in plan.entries:
            words, dims = plan.record_words(entry), {"n": n}
            table = np.full((len(entry.launches) + 1, words), 0xDEADBEEF, np.uint32)
            sizes = [n] if entry.dims else []
            ((actual,),) = wasm.run([(plan.launch_export(entry), [*sizes, table])])
            for record, launch in zip(actual, entry.launches, strict=False):
                kernel = plan.kernels[launch.kernel]
                grid = [substitute(extent, dims) for extent in kernel.grid]
                uniform = [substitute(scalar, dims) for scalar in kernel.scalars]
                expected = [*grid, *[1] * (3 - len(grid)), *uniform, grid[0]]
                assert record[: len(expected)].tolist() == expected
                assert all(extent > 0 for extent in grid), kernel.name
            assert (actual[-1] == 0xDEADBEEF).all(), "it wrote past its table"


def test_the_table_follows_n(wasm: Wasm, plans: list[Plan]) -> None:
    """Prefill's grids must depend on n at all: a constant table would pass nothing else of this file, but be sure."""
    plan = plans[0]
    (entry,) = (entry for entry in plan.entries if entry.name == "prefill")
    table = np.zeros((len(entry.launches), plan.record_words(entry)), np.uint32)
    tables = wasm.run([("f16_subgroups_prefill", [n, table]) for n in (1, CHUNK)])
    (one,), (most,) = tables
    assert (one <= most).all() and (one[:, :2].prod(1) < most[:, :2].prod(1)).sum() > 3


def test_a_grid_over_the_limit_is_refused(plans: list[Plan]) -> None:
    plan = plans[0]
    with pytest.raises(CompileError, match="over WebGPU's 65535"):
        build_wasm([replace(plan, entries=[replace(e, most={"n": 1 << 22}) for e in plan.entries])])


def test_equal_plans_make_equal_bytes(
    plans: list[Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_wasm(plans)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert build_wasm(plans) == first
    assert str(tmp_path).encode() not in first
    assert len(first) < 40_000
