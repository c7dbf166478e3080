"""A tier is a class of devices by their WebGPU features; each tier has its own kernels over the same weights."""

from dataclasses import dataclass, replace

from mlcweb.contract import constants
from mlcweb.contract.constants import KvCacheDtype


@dataclass(frozen=True)
class Tier:
    """A row of the contract's table. ``features`` are the WebGPU features a device must have."""

    name: str
    features: tuple[str, ...]
    software: bool = False  # for adapters that are a CPU: kernels.software
    cpu: bool = False  # no adapter: kernels.cpu, in WebAssembly
    relaxed: bool = False  # of the CPU's: with Relaxed SIMD
    floats: bool = False  # of the CPU's: products take activations as they are

    @property
    def subgroups(self) -> bool:
        return "subgroups" in self.features

    @property
    def f16(self) -> bool:
        return "shader-f16" in self.features

    @property
    def kv_dtype(self) -> KvCacheDtype:
        """The KV cache's element type, unless another is asked for."""
        return "float16" if self.f16 else "float32"


# Best first: the engine takes the first that the device admits; where the adapter is a CPU, `wasm` and `software` come
# before all others.
TIERS = tuple(Tier(row.name, row.features, row.software, row.cpu) for row in constants.TIERS)
F16_SUBGROUPS, F16, SUBGROUPS, BASE, SOFTWARE, WASM = TIERS
GPU_TIERS = tuple(tier for tier in TIERS if not tier.cpu)
# Its plan is the same for two modules of kernels.
WASM_RELAXED = replace(WASM, relaxed=True)


def tiers_for(float16: bool) -> tuple[Tier, ...]:
    """The tiers that serve a quantization: float16 arithmetic only where it takes that (``Scheme.float16``)."""
    return tuple(tier for tier in TIERS if float16 or not tier.f16)
