"""Measures `mlcweb build --dask` of small bundles on one worker, on two, and on two of which one is killed.

python -m bench.build [--bundles 12] [--rounds 3] [--out dist/build.json]

Each worker has a core of its own, so two cores are needed (Linux). Each run compiles, validates in headless Chromium
and publishes to a folder, with empty caches; its time is that of the whole command, with its start.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.random_checkpoint import write_checkpoint
from bench.synthetic.dask_cluster import dask_cluster

_KILLED_AFTER = 3  # bundles published


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundles", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    cases = {"one worker": (1, False), "two workers": (2, False), "two, one killed": (2, True)}
    times: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory(prefix="bench-build-") as name:
        folder = Path(name)
        text = 'target = "www"\nquantizations = ["q4f32_1"]\n'
        for i in range(arguments.bundles):
            write_checkpoint("small", folder / f"model-{i}", seed=i)
            text += f'[[models]]\nsource = "../model-{i}"\ncontext_length = 256\n'
        for i in range(arguments.rounds):
            for case, (workers, kill) in cases.items():
                run = folder / f"{i}-{case.replace(' ', '-')}"
                run.mkdir()
                (run / "models.toml").write_text(text)
                times[case].append(_timed(run, workers, kill))
                print(f"round {i + 1}, {case}: {times[case][-1]:.1f} s", file=sys.stderr)
    medians = {case: statistics.median(values) for case, values in times.items()}
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "bundles": arguments.bundles,
        "seconds": times,
        "medians": medians,
        "ratio": medians["two workers"] / medians["one worker"],
    }
    print(f"{result['machine']}; {arguments.bundles} bundles, each worker on a core of its own")
    for case, values in times.items():
        share = 100 * medians[case] / medians["one worker"]
        rounds = ", ".join(f"{value:.1f}" for value in values)
        print(f"{case}: {medians[case]:.1f} s ({rounds}), {share:.0f} % of one worker's")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _timed(folder: Path, workers: int, kill: bool) -> float:
    """Seconds of the command. Raises RuntimeError unless each bundle is published."""
    with dask_cluster(folder, MLCWEB_CACHE=str(folder / "cache")) as cluster:
        for core in sorted(os.sched_getaffinity(0))[:workers]:
            cluster.add_worker(core)
        command = [sys.executable, "-m", "mlcweb", "build", str(folder / "models.toml"), "--format", "json"]
        began = time.monotonic()
        process = subprocess.Popen(
            [*command, "--dask", cluster.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if kill:
            threading.Thread(
                target=_kill_when, args=(folder / "www", cluster.workers[0]), daemon=True
            ).start()
        out, err = process.communicate()
        took = time.monotonic() - began
    bundles = json.loads(out).get("bundles", [])
    if process.returncode or not bundles or not all(bundle["ok"] for bundle in bundles):
        raise RuntimeError(err)
    listed = json.loads((folder / "www" / "catalog.json").read_text())["models"]
    if len(listed) != len(bundles):
        raise RuntimeError(f"the catalog lists {len(listed)} of {len(bundles)} bundles")
    return took


def _kill_when(target: Path, worker: subprocess.Popen[bytes]) -> None:
    while len(list(target.glob("*/mlcweb.json"))) < _KILLED_AFTER:
        time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
