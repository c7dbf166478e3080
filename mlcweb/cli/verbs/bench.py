"""``mlcweb bench``: load time, prefill and decode speed in Chromium."""

from __future__ import annotations

from pathlib import Path

import click

from mlcweb.cli.numbers import rate, seconds
from mlcweb.cli.options import bundle_argument, chromium_option, tier_option, verb
from mlcweb.cli.output import Output


@verb("bench")
@bundle_argument
@click.option(
    "--prefill", type=click.IntRange(1), default=512, show_default=True, help="Prompt tokens to prefill."
)
@click.option(
    "--decode", type=click.IntRange(1), default=128, show_default=True, help="Tokens to decode after it."
)
@click.option(
    "--repeats", type=click.IntRange(1), default=5, show_default=True, help="Runs; medians are shown."
)
@tier_option
@chromium_option
def command(
    output: Output,
    bundle: Path,
    prefill: int,
    decode: int,
    repeats: int,
    tier: str | None,
    chromium: Path | None,
) -> None:
    """Measure load, prefill and decode.

    Runs BUNDLE in headless Chromium and shows the medians of several runs after one that warms up.

    \b
    Example:
      mlcweb bench SmolLM2-135M-Instruct-q4f32_1
      mlcweb bench SmolLM2-135M-Instruct-q4f32_1 --prefill 64 --decode 16 --repeats 1
    """
    from mlcweb.browser.measure import measure

    with output.progress() as progress:
        found = measure(bundle, prefill, decode, repeats, tier, chromium, progress)

    def text() -> None:
        output.facts(
            {
                "bundle": bundle.name,
                "browser": found.browser,
                "adapter": f"{found.adapter} ({'software' if found.software else 'GPU'}), tier {found.tier}",
                "load": seconds(found.load_seconds),
                f"prefill {prefill}": rate(found.prefill_tokens_per_second),
                f"decode {decode} at context {prefill}": rate(found.decode_tokens_per_second),
                "runs": str(repeats),
            }
        )

    output.data(found.facts(), text)
