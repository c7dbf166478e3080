"""Tiers: what a device can do, chosen at load; each tier has its own kernels over the same weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tier:
    """``features`` are the WebGPU features a device must have; names are the bundle format's."""

    name: str
    subgroups: bool
    f16: bool
    software: bool = False  # for adapters that are a CPU: kernels.software

    @property
    def features(self) -> tuple[str, ...]:
        return (("shader-f16",) if self.f16 else ()) + (("subgroups",) if self.subgroups else ())

    @property
    def kv_dtype(self) -> str:
        """The KV cache's element type, unless another is asked for."""
        return "float16" if self.f16 else "float32"


BASE = Tier("base", subgroups=False, f16=False)
SUBGROUPS = Tier("subgroups", subgroups=True, f16=False)
F16 = Tier("f16", subgroups=False, f16=True)
F16_SUBGROUPS = Tier("f16-subgroups", subgroups=True, f16=True)
SOFTWARE = Tier("software", subgroups=True, f16=False, software=True)

KV_DTYPES = ("float16", "float32")

# Best first: the engine takes the first that the device admits; `software` before all where the adapter is a CPU.
TIERS = (F16_SUBGROUPS, F16, SUBGROUPS, BASE, SOFTWARE)


def tiers_for(float16: bool) -> tuple[Tier, ...]:
    """The tiers that serve a quantization: float16 arithmetic only where it takes that (``Scheme.float16``)."""
    return tuple(tier for tier in TIERS if float16 or not tier.f16)
