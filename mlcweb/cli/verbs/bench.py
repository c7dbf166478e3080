"""``mlcweb bench`` measures load time, prefill and decode in Chromium; with ``--profile``, each kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlcweb.cli.options import (
    activations_option,
    chromium_option,
    optional_bundle_argument,
    tier_option,
    verb,
)
from mlcweb.cli.output import Output
from mlcweb.numbers import microseconds, per_second, rate, seconds

if TYPE_CHECKING:
    from mlcweb.browser.measure import BenchRun, Load, Measured
    from mlcweb.browser.session import LoadOptions
    from mlcweb.profile import Profile

FILE = click.Path(dir_okay=False, path_type=Path)


@verb("bench")
@optional_bundle_argument
@click.option(
    "--prefill", type=click.IntRange(1), default=512, show_default=True, help="Tokens of the prompt."
)
@click.option("--decode", type=click.IntRange(1), default=128, show_default=True, help="Tokens to decode.")
@click.option(
    "--context",
    type=click.IntRange(1),
    help="Tokens in the KV cache when decoding begins; by default as many as --prefill.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    help="How many runs to take the median of; by default 5, or with --profile 20, fewer of slow kernels.",
)
@click.option("--profile", is_flag=True, help="Time each kernel, beside what the device can do.")
@click.option("--from", "source", type=FILE, help="Show this saved profile, and measure nothing.")
@click.option("--svg", type=FILE, help="Draw the profile: a bar for each launch of a step and of a chunk.")
@tier_option
@activations_option
@chromium_option
def command(
    output: Output,
    bundle: Path | None,
    prefill: int,
    decode: int,
    context: int | None,
    repeats: int | None,
    profile: bool,
    source: Path | None,
    svg: Path | None,
    tier: str | None,
    activations: str | None,
    chromium: Path | None,
) -> None:
    """Measure load, prefill and decode.

    Runs BUNDLE in headless Chromium. Loads it from a local server, then again from the browser's cache; warms up with
    one run, and shows the medians of the next ones. With --profile, times every kernel of one decode step and one
    prefill chunk, beside what the device can copy and compute. --format json prints a profile that --from reads.

    \b
    Example:
      mlcweb bench SmolLM2-135M-Instruct-q4f32_1
      mlcweb bench SmolLM2-135M-Instruct-q4f32_1 --prefill 64 --decode 16 --repeats 1
      mlcweb bench SmolLM2-135M-Instruct-q4f32_1 --profile --svg timeline.svg
      mlcweb bench --from profile.json --svg timeline.svg
    """
    if (bundle is None) == (source is None):
        raise click.UsageError("give either a BUNDLE to measure or --from FILE")
    if svg and not (profile or source):
        raise click.UsageError("--svg draws a profile: add --profile")
    if source:
        _show_profile(output, _read(source), svg)
    elif profile and bundle:
        from mlcweb.browser.measure import measure_profile
        from mlcweb.browser.session import LoadOptions

        load_options = LoadOptions(tier, activations)
        with output.progress() as progress:
            measured = measure_profile(
                bundle, prefill, context, repeats or 20, load_options, chromium, progress
            )
        _show_profile(output, measured, svg)
    elif bundle:
        from mlcweb.browser.measure import BenchRun
        from mlcweb.browser.session import LoadOptions

        run = BenchRun(prefill, decode, context or prefill, repeats or 5)
        _speeds(output, bundle, run, LoadOptions(tier, activations), chromium)


def _speeds(
    output: Output, bundle: Path, run: BenchRun, load_options: LoadOptions, chromium: Path | None
) -> None:
    from mlcweb.browser.measure import measure

    with output.progress() as progress:
        (measured,) = measure(bundle, [run], load_options, chromium, progress)

    def text() -> None:
        kind = "software" if measured.software else "GPU"
        output.facts(
            {
                "bundle": bundle.name,
                "browser": measured.browser,
                "adapter": f"{measured.adapter} ({kind}), tier {measured.tier}, prefill {measured.activations}",
                "load": _load(measured, measured.load),
                "load again": _load(measured, measured.load_again),
                "fetch": f"the weights alone {per_second(measured.weights_bytes / measured.fetch_seconds, 'B')}",
                f"prefill {run.prefill}": rate(measured.prefill_tokens_per_second),
                "first token": microseconds(measured.time_to_first_token_seconds * 1e6),
                f"decode {run.decode} at context {run.context}": rate(measured.decode_tokens_per_second),
                "runs": str(run.repeats),
            }
        )

    output.data(measured.facts(), text)


def _load(measured: Measured, load: Load) -> str:
    weights = per_second(measured.weights_bytes / load.weights_seconds, "B")
    return f"{seconds(load.seconds)}, weights at {weights}, first token after {seconds(load.first_token_seconds)}"


def _read(path: Path) -> Profile:
    from mlcweb.profile import read_profile

    return read_profile(path)


def _show_profile(output: Output, profile: Profile, svg: Path | None) -> None:
    from mlcweb.profile import COLUMNS, draw, facts, headline, kernel_rows

    if svg:
        svg.write_text(draw(profile), encoding="utf-8")

    def text() -> None:
        output.facts(facts(profile))
        for name, entry in profile.entries:
            output.line()
            output.line(headline(name, entry))
            output.table(COLUMNS, kernel_rows(profile, entry), numbers=True)

    output.data(profile.document, text)
    if svg:
        output.note(f"drawn in {svg}")
