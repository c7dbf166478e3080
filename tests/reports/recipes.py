"""Lowers the whole model of every recipe for every tier, without weights, and holds it to WebGPU's default limits; the
CPU's kernels are compiled too.

    python -m tests.reports.recipes            all of them, as `make recipes` does
    python -m tests.reports.recipes qwen3 4b   those with these words in their name

Recipes of one shape are lowered once. A kernel over a limit, or a buffer that one binding cannot hold, ends the run
with status 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from mlcweb.cli.output import Output
from mlcweb.kernels.choice.tier import Tier, tiers_for
from mlcweb.numbers import size
from mlcweb.plan import Plan
from mlcweb.quantize import get_scheme
from mlcweb.recipes import Recipe, all_recipes
from tests.support.limits import MAX_BINDING, check
from tests.support.recipe_plans import lower_recipe, quantization_of, shape_of


@dataclass(frozen=True)
class Lowered:
    """What lowering a recipe for a tier gave; ``problem`` is empty where all is well."""

    kernels: int = 0
    launches: int = 0
    scratch: int = 0
    seconds: float = 0.0
    problem: str = ""


def lower(recipe: Recipe, tier: Tier) -> Lowered:
    """Lower one, and check it."""
    began = time.monotonic()
    try:
        plan, chunk = lower_recipe(recipe, tier)
        if not tier.cpu:
            _check_limits(plan, chunk)
    except Exception as error:  # whatever it is: the others are to be tried too
        return Lowered(problem=f"{recipe.name}, tier {tier.name}: {type(error).__name__}: {error}")
    step = next((entry for entry in plan.entries if entry.name == "decode"), plan.entries[0])
    return Lowered(
        kernels=len(plan.kernels),
        launches=len(step.launches),  # of a model of whole texts, a call's
        scratch=plan.memory("scratch"),
        seconds=time.monotonic() - began,
    )


def _check_limits(plan: Plan, chunk: int) -> None:
    for kernel in plan.kernels:
        check(kernel, chunk)
    for buffer in plan.buffers:
        assert buffer.kind == "kv" or buffer.bytes <= MAX_BINDING, f"{buffer.name} is {buffer.bytes} bytes"


def row(recipes: list[Recipe], made: list[Lowered]) -> tuple[str, ...]:
    """A shape's line: the most of any tier, and the seconds of all."""
    return (
        ", ".join(recipe.name for recipe in recipes),
        str(len(made)),
        str(max(m.kernels for m in made)),
        str(max(m.launches for m in made)),
        size(max(m.scratch for m in made)),
        f"{sum(m.seconds for m in made):.1f} s",
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="words that a recipe's name has to have")
    parser.add_argument("--tier", action="append", help="only this tier; may be repeated")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    output = Output()
    chosen = [r for r in all_recipes() if all(word.lower() in r.name.lower() for word in arguments.words)]
    shapes: dict[str, list[Recipe]] = defaultdict(list)
    for recipe in chosen:
        shapes[shape_of(recipe)].append(recipe)
    began, rows, problems, plans = time.monotonic(), [], [], 0
    # not forked: TVM has threads
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        running = []
        for recipes in shapes.values():
            tiers = tiers_for(get_scheme(quantization_of(recipes[0])).float16)
            chosen_tiers = [t for t in tiers if not arguments.tier or t.name in arguments.tier]
            running.append((recipes, [pool.submit(lower, recipes[0], tier) for tier in chosen_tiers]))
        with output.progress() as progress:
            progress.start("lower", len(running))
            for recipes, futures in running:
                made = [future.result() for future in futures]
                problems += [m.problem for m in made if m.problem]
                good = [m for m in made if not m.problem]
                rows += [row(recipes, good)] if good else []
                plans += len(good)
                progress.advance(1)
    output.table(("RECIPES", "TIERS", "KERNELS", "A STEP'S", "SCRATCH", "LOWERED IN"), rows)
    for problem in problems:
        output.note(problem)
    seconds = time.monotonic() - began
    output.note(
        f"{len(chosen)} recipes of {len(shapes)} shapes in {seconds:.0f} s: "
        f"{plans} plans within the limits, {len(problems)} not"
    )
    return 1 if problems or not plans else 0


if __name__ == "__main__":
    sys.exit(main())
