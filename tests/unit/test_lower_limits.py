"""Every kernel of the recipes' models stays within WebGPU's default limits, and one that does not is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from mlcweb.errors import CompileError
from mlcweb.kernels.choice.tier import BASE, GPU_TIERS, Tier
from mlcweb.kernels.language.builder import KernelBuilder
from mlcweb.lower import lower_kernel
from tests.support.limits import check, workgroup_bytes
from tests.support.lowered import CHUNK, SHAPES, VARIANTS, lowered

pytestmark = pytest.mark.slow

REAL = ["SmolLM2-135M", "Llama-3.2-1B", "Llama-3.2-3B"]


@pytest.mark.parametrize(("scheme", "tier"), VARIANTS, ids=lambda v: v.name if isinstance(v, Tier) else v)
@pytest.mark.parametrize("shape", SHAPES)
def test_kernels_stay_within_default_limits(shape: str, scheme: str, tier: Tier) -> None:
    _, plan = lowered(shape, scheme, tier)
    for kernel in plan.kernels:
        check(kernel, CHUNK)


@pytest.mark.parametrize("kv_dtype", ["float16", "float32"])
@pytest.mark.parametrize("tier", GPU_TIERS, ids=lambda tier: tier.name)
def test_kernels_of_another_kv_cache_stay_within_default_limits(tier: Tier, kv_dtype: str) -> None:
    for kernel in lowered("Llama-3.2-3B", "q4f16_1", tier, kv_dtype)[1].kernels:
        check(kernel, CHUNK)


@pytest.mark.parametrize("shape", ["tiny", "SmolLM2-135M"])
@pytest.mark.parametrize("kv_dtype", [None, "float16"])
def test_a_tier_asks_for_no_more_than_its_features(shape: str, kv_dtype: str | None) -> None:
    for scheme, tier in VARIANTS:
        wgsl = lowered(shape, scheme, tier, kv_dtype)[1].wgsl()
        assert ("enable f16;" in wgsl) <= tier.f16
        assert ("enable subgroups;" in wgsl) <= tier.subgroups
        assert bool(re.search(r"\bf16\b", wgsl)) <= tier.f16
        assert bool(re.search(r"\b(subgroup|quad)[A-Z]", wgsl)) <= tier.subgroups
        assert "chromium" not in wgsl


def test_full_size_models_bind_what_default_limits_admit_or_are_known_not_to() -> None:
    """The 3B's quantized embedding is the one buffer over 128 MiB; write_bundle declares it in the tier's limits."""
    over = {
        (shape, buffer.name)
        for shape in REAL
        for buffer in lowered(shape, *VARIANTS[0])[1].buffers
        if buffer.bytes > 128 << 20
    }
    assert over <= {("Llama-3.2-3B", "model.embed_tokens.q_weight")}


def kernel(
    *, threads: int = 64, shared: int = 0, buffers: int = 1, grid: Any = (1,), dtype: str = "float32"
) -> Any:
    """Doubles the first ``threads`` elements of each of its buffers, by way of workgroup memory if there is any."""
    k = KernelBuilder("made")
    arguments = [k.buffer(f"b{i}", (1024,), dtype) for i in range(buffers)]
    _, tid = k.launch(list(grid), threads)
    tile = k.shared(shared, dtype) if shared else None
    for buffer in arguments:
        if tile is not None:
            k.store(tile, tid, buffer[tid])
            k.barrier()
            k.store(buffer, tid, tile[threads - 1 - tid])
        else:
            k.store(buffer, tid, buffer[tid] + buffer[tid])
    return k.finish()


@pytest.mark.parametrize(
    ("within", "over", "said"),
    [
        ({"threads": 256}, {"threads": 257}, "257 invocations"),
        ({"shared": 4096}, {"shared": 4097}, "workgroup"),
        ({"buffers": 8}, {"buffers": 9}, "9 storage buffers"),
    ],
)
def test_a_kernel_over_a_limit_is_refused(within: dict[str, int], over: dict[str, int], said: str) -> None:
    check(lower_kernel("made", kernel(**within), BASE), 1)
    with pytest.raises(CompileError, match="kernel made") as caught:
        lower_kernel("made", kernel(**over), BASE)
    assert said in caught.value.message


def test_what_a_lowered_kernel_says_of_itself() -> None:
    made = lower_kernel("made", kernel(threads=32, shared=64, buffers=2, grid=(3, 5)), BASE)
    assert made.bindings == ["storage", "storage", "uniform"]
    assert made.arguments == (0, 1) and made.writes == (True, True)
    assert [int(extent) for extent in made.grid] == [3, 5]
    assert made.threads == 32
    assert "fn made(" in made.wgsl and "\n//" not in made.wgsl
    assert workgroup_bytes(made.wgsl) == 256


def test_an_error_while_a_kernel_is_written_leaves_no_builder_open() -> None:
    """TVM would free an open builder after Python, and crash: the process must end as the error says."""
    script = (
        "from mlcweb.kernels.language.builder import KernelBuilder, kernel\n"
        "@kernel\n"
        "def broken():\n"
        "    k = KernelBuilder('broken')\n"
        "    k.at(k.pointer('p', 'uint32'), (4,), 'uint32')\n"
        "    raise ValueError('no')\n"
        "try:\n"
        "    broken()\n"
        "except ValueError:\n"
        "    raise SystemExit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 7
