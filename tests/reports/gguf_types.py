"""``make gguf``: every GGUF type on every tier's kernels in browsers, against the gguf library's values.

An entry is the largest difference in parts of the largest expected value; ``rows`` must be 0, bit for bit. The tiers
of float16 need a Chromium with shader-f16 (scripts/f16-chromium.sh); products on subgroup matrices are spelled out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from bench.synthetic.gguf_types import FLOATS, QUANTIZED
from mlcweb.browser.adapter import open_blank
from mlcweb.browser.find import find_chromium
from mlcweb.browser.page import open_page
from mlcweb.kernels.choice.tier import BASE, F16, F16_SUBGROUPS, SOFTWARE, SUBGROUPS, Tier
from tests.support.browser import gguf_kernels as kernels

_OPERATIONS = {
    "rows": kernels.rows,
    "decode": kernels.decode,
    "prefill": kernels.prefill,
    "int8": kernels.prefill_int8,
    "matrix": kernels.prefill_matrix,
}
_USUAL = ("rows", "decode", "prefill", "int8")
# What each browser runs; a tier's operations.
_STOCK: list[tuple[Tier, tuple[str, ...]]] = [
    (BASE, _USUAL),
    (SUBGROUPS, ("decode",)),  # whose prefill is that of base
    (SOFTWARE, ("decode", "prefill")),
]
_F16: list[tuple[Tier, tuple[str, ...]]] = [(F16, _USUAL), (F16_SUBGROUPS, ("decode", "matrix"))]
_ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [*QUANTIZED, *FLOATS]
    parser.add_argument("kinds", nargs="*", metavar="TYPE", help=f"of {', '.join(known)} (all)")
    asked = parser.parse_args().kinds or known
    if unknown := set(asked) - set(known):
        parser.error(f"no type is called {min(unknown)}")
    found: dict[str, dict[str, str]] = {kind: {} for kind in asked}
    columns: list[str] = []
    for chromium, tiers in ((find_chromium(), _STOCK), (_f16_chromium(), _F16)):
        with open_page(chromium) as page:
            open_blank(page)
            for tier, operations in tiers:
                for name in operations:
                    columns.append(f"{tier.name} {name}")
                    for kind in asked:
                        if kind in QUANTIZED or name in ("rows", "decode", "prefill"):
                            pair = _OPERATIONS[name](page.raw, kind, tier)
                            found[kind][columns[-1]] = f"{_difference(*pair):.1e}"
    print(f"| type | {' | '.join(columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    for kind in asked:
        print(f"| {kind} | {' | '.join(found[kind].get(column, '') for column in columns)} |")
    return 0


def _difference(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def _f16_chromium() -> Path:
    named = os.environ.get("MLCWEB_F16_CHROMIUM")
    if named:
        return Path(named)
    script = [_ROOT / "scripts" / "f16-chromium.sh"]
    made = subprocess.run(script, stdout=subprocess.PIPE, text=True, check=True)
    return Path(made.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
