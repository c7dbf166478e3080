"""Names the tiers that run on the CPU, without WebGPU."""

from __future__ import annotations

from mlcweb.contract.constants import TIERS

CPU_TIERS = frozenset(row.name for row in TIERS if row.cpu)
