"""Breaks a bundle's kernels, as a driver or a browser with a fault would: the files are whole, and compute wrong."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path


def break_kernels(bundle: Path, tier: str, change: Callable[[str], str]) -> None:
    """Put what ``change`` makes of the tier's WGSL into its place, under its own hash."""
    path = bundle / "mlcweb.json"
    manifest = json.loads(path.read_text())
    (facts,) = (one for one in manifest["tiers"] if one["name"] == tier)
    old = facts["kernels"]
    before = (bundle / old).read_text(encoding="utf-8")
    after = change(before)
    assert after != before, "nothing was broken"
    data = after.encode()
    digest = hashlib.sha256(data).hexdigest()
    facts["kernels"] = f"kernels.{tier}.{digest[:8]}.wgsl"
    del manifest["files"][old]
    manifest["files"][facts["kernels"]] = {"bytes": len(data), "sha256": digest}
    (bundle / old).unlink()
    (bundle / facts["kernels"]).write_bytes(data)
    path.write_text(json.dumps(manifest))


def wrong_sum(wgsl: str) -> str:
    """A decode step's product on the tier ``software`` takes away what it should add."""
    kernel = _kernel(wgsl, "decode_down")
    return wgsl.replace(kernel, kernel.replace("parts[1i] = (parts[1i] + ", "parts[1i] = (parts[1i] - "))


def no_number(wgsl: str) -> str:
    """A decode step's norm is of a negative number."""
    kernel = _kernel(wgsl, "decode_head")
    return wgsl.replace(kernel, kernel.replace("sqrt(", "sqrt(-1.0 - "))


def race(wgsl: str) -> str:
    """Nobody waits for anybody."""
    return wgsl.replace("workgroupBarrier();", "")


def lying_subgroups(wgsl: str) -> str:
    """Subgroups say that they are twice as large as they are."""
    return wgsl.replace("subgroupAdd(1u)", "(2u * subgroupAdd(1u))")


def overflow(wgsl: str) -> str:
    """What is stored in 16 bits is too large for them."""
    return re.sub(r"\bpack2x16float\(", "pack2x16float(100000.0 * ", wgsl)


def _kernel(wgsl: str, name: str) -> str:
    (text,) = (
        part for part in re.split(r"(?=//// kernel )", wgsl) if part.startswith(f"//// kernel {name}\n")
    )
    return text
