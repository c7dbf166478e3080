"""Measures what ``mlcweb validate URL`` takes beside the same bundle's folder.

python -m bench.validate --bundle dist/NAME [--tier software] [--rounds 3] [--out dist/validate.json]

A server on loopback has the bundle on an origin of its own. Each round validates the folder and the URL, in turn; the
time is that of the whole command, with its start and the browser's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mlcweb.numbers import size
from mlcweb.serve import serving
from mlcweb.serve.handler import AnyOriginHandler


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--tier", action="append", default=[], help="may be repeated; by default all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    tiers = [f"--tier={tier}" for tier in arguments.tier]
    times: dict[str, list[float]] = {"folder": [], "url": []}
    with serving(arguments.bundle, handler=AnyOriginHandler) as server:
        where = {"folder": str(arguments.bundle), "url": f"{server.url}bundle/"}
        for i in range(arguments.rounds):
            for name in ("folder", "url") if i % 2 else ("url", "folder"):
                took, report = _timed(where[name], tiers)
                times[name].append(took)
                print(f"{name}: {took:.2f} s", file=sys.stderr)
    medians = {name: statistics.median(values) for name, values in times.items()}
    files = [path for path in arguments.bundle.iterdir() if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    checked = [tier["tier"] for tier in report["tiers"]]
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "browser": report["browser"],
        "adapter": report["adapter"],
        "bundle": {"name": report["model"], "files": len(files), "bytes": total},
        "tiers": checked,
        "seconds": times,
        "medians": medians,
        "ratio": statistics.median(u / f for u, f in zip(times["url"], times["folder"], strict=True)),
    }
    print(f"{result['machine']}; {result['browser']} on {result['adapter']}")
    print(f"{result['bundle']['name']}: {len(files)} files, {size(total)}; tiers {', '.join(checked)}")
    for name, values in times.items():
        rounds = ", ".join(f"{value:.2f}" for value in values)
        print(f"{name}: {medians[name]:.2f} s ({rounds})")
    print(f"the URL's time is {100 * result['ratio']:.0f} % of the folder's (median of the rounds' ratios)")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _timed(bundle: str, options: list[str]) -> tuple[float, dict[str, Any]]:
    """Seconds, and the report."""
    command = [sys.executable, "-m", "mlcweb", "validate", bundle, *options, "--format", "json"]
    began = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    took = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"{bundle} failed:\n{done.stderr[-2000:]}")
    (report,) = json.loads(done.stdout)["bundles"]
    return took, report


if __name__ == "__main__":
    sys.exit(main())
