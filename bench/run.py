"""``make bench``: what compiling costs, what the bundles and the engine weigh, and how fast the answer comes.

On a GPU it compiles and measures SmolLM2-135M and the shapes of Llama-3.2-1B and 3B with random weights, in q4f32_1
and q4f16_1. On a software adapter it is SmolLM2-135M q4f32_1 alone and the runs are shorter, since there a token takes
a third of a second or more; ``--shapes`` asks for the others all the same. The table says what was used.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from bench.models import QUANTS, compile_real, compile_shapes
from mlcweb.browser.adapter import Adapter, probe
from mlcweb.browser.measure import BenchRun, measure
from mlcweb.browser.session import LoadOptions
from mlcweb.cli.failures import explain, report
from mlcweb.cli.output import Output
from mlcweb.numbers import microseconds, seconds, size
from mlcweb.serve import engine_folder

ON_GPU = (BenchRun(512, 128, 512, 5), BenchRun(2048, 64, 3900, 3))
IN_SOFTWARE = (BenchRun(64, 16, 64, 1),)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        action="append",
        help="measure this bundle and compile nothing; may be repeated",
    )
    parser.add_argument("--shapes", action="store_true", help="all models, on a software adapter too")
    parser.add_argument("--prefill", type=int, help="prompt tokens (512 and 2048; 64 in software)")
    parser.add_argument("--decode", type=int, help="tokens decoded after them (128; 16 in software)")
    parser.add_argument("--repeats", type=int, help="runs, of which the median counts (5; 1 in software)")
    parser.add_argument("--tier", help="the tier to run (the best one)")
    parser.add_argument(
        "--chromium", type=Path, help="the browser to run (MLCWEB_CHROMIUM, or the one installed)"
    )
    parser.add_argument("--out", type=Path, default=Path("dist/bench.json"), help="where the JSON goes")
    return parser.parse_args()


def planned_runs(args: argparse.Namespace, adapter: Adapter) -> tuple[BenchRun, ...]:
    """What each bundle is measured with: one run if the command line says anything of it."""
    defaults = IN_SOFTWARE if adapter.software else ON_GPU
    if not (args.prefill or args.decode or args.repeats):
        return defaults
    first = defaults[0]
    prefill = args.prefill or first.prefill
    return (BenchRun(prefill, args.decode or first.decode, prefill, args.repeats or first.repeats),)


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
    scripts = sorted([*built.glob("*.js"), *engine_folder().glob("*.js")])
    return {
        f"{file.parent.name}/{file.name}": {
            "bytes": file.stat().st_size,
            "gzip_bytes": len(gzip.compress(file.read_bytes(), 9, mtime=0)),
        }
        for file in scripts
    }


def bundles(args: argparse.Namespace, adapter: Adapter) -> list[dict[str, Any]]:
    """What there is to measure, compiled anew unless it was named; ``compile`` is what that cost."""
    if args.bundle:
        return [{"path": path, "compile": None} for path in args.bundle]
    every = args.shapes or not adapter.software
    made = [compile_real(quant) for quant in (QUANTS if every else QUANTS[:1])]
    made += compile_shapes() if every else ()
    return [{"path": one.bundle, "compile": one.facts()} for one in made]


def run(args: argparse.Namespace, output: Output) -> None:
    adapter = probe(args.chromium)
    runs = planned_runs(args, adapter)
    models = bundles(args, adapter)
    for model in models:
        path = model.pop("path")
        model |= {"name": path.name, "bytes": bundle_bytes(path)}
        with output.progress() as progress:
            measured = measure(path, runs, LoadOptions(args.tier), args.chromium, progress)
        model["runs"] = [speed.facts() for speed in measured]
    document = {
        "machine": machine(),
        "adapter": adapter.facts(),
        "scripts": script_sizes(),
        "models": models,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(document, indent=2) + "\n")
    show(document, adapter, output)
    output.note(f"written to {args.out}")


def show(document: dict[str, Any], adapter: Adapter, output: Output) -> None:
    box, models = document["machine"], document["models"]
    runs = models[0]["runs"]
    rows = {
        "machine": f"{box['processor']}, {box['cores']} cores, {size(box['memory_bytes'])}",
        "browser": adapter.browser,
        "adapter": f"{adapter.name}, {'software' if adapter.software else 'GPU'}",
        "runs": "; ".join(
            f"{r['decode_tokens']} tokens decoded, medians of {r['repeats']} after a warm-up" for r in runs
        ),
    }
    for name, weight in document["scripts"].items():
        rows[name] = f"{size(weight['bytes'])}, {size(weight['gzip_bytes'])} gzipped"
    output.facts(rows)
    output.line()
    output.line("tokens/s:")
    columns = ["BUNDLE", "TIER", "SIZE"]
    columns += [f"DECODE AT {r['context']}" for r in runs]
    columns += [f"PREFILL OF {r['prefill_tokens']}" for r in runs]
    columns += [f"FIRST TOKEN AT {runs[-1]['prefill_tokens']}", "LOAD", "AGAIN", "COMPILE", "PEAK"]
    output.table(columns, [row(model) for model in models], numbers=True)


def row(model: dict[str, Any]) -> list[str]:
    """A line of the table."""
    runs, compiled = model["runs"], model["compile"]
    return [
        model["name"],
        runs[0]["tier"],
        size(model["bytes"]),
        *(speed(r["decode_tokens_per_second"]) for r in runs),
        *(speed(r["prefill_tokens_per_second"]) for r in runs),
        microseconds(runs[-1]["time_to_first_token_seconds"] * 1e6),
        seconds(runs[0]["load"]["seconds"]),
        seconds(runs[0]["load_again"]["seconds"]),
        seconds(compiled["seconds"]) if compiled else "-",
        size(compiled["peak_memory_bytes"]) if compiled else "-",
    ]


def speed(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.2f}"


if __name__ == "__main__":
    sink = Output()
    try:
        run(arguments(), sink)
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(report(explain(error), error, sink))
