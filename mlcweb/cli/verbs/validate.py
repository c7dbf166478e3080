"""``mlcweb validate`` checks that a bundle computes what its compiler promised."""

from __future__ import annotations

from pathlib import Path

import click

from mlcweb.cli.options import TIERS, activations_option, bundle_argument, chromium_option, verb
from mlcweb.cli.output import Output


@verb("validate")
@bundle_argument
@click.option(
    "--tier", "tiers", type=click.Choice(TIERS), multiple=True, help="Check only this tier; may be repeated."
)
@activations_option
@chromium_option
def command(
    output: Output, bundle: Path, tiers: tuple[str, ...], activations: str | None, chromium: Path | None
) -> None:
    """Check a bundle's files and answer.

    Verifies every file of BUNDLE. Then, in headless Chromium, renders its example chats and compares their text and
    tokens with the compiler's, and repeats its expected answer.

    Exits with 1 when a file is damaged, a chat or a token differs, or a logit differs by more than the tolerance.

    \b
    Example:
      mlcweb validate SmolLM2-135M-Instruct-q4f32_1
      mlcweb validate dist/SmolLM2-135M-Instruct-q4f16_1 --tier base --tier subgroups
      mlcweb validate dist/SmolLM2-135M-Instruct-q4f32_1 --activations int8
    """
    from mlcweb.validate import require_pass, validate_bundle

    with output.progress() as progress:
        reports = validate_bundle(bundle, tiers, chromium, progress, activations)

    def text() -> None:
        columns = (
            "TIER",
            "PREFILL",
            "CHATS ALIKE",
            "TOKENS MATCH",
            "LARGEST DIFFERENCE",
            "TOLERANCE",
            "RESULT",
        )
        rows = [
            (
                r.tier,
                r.activations,
                r.chats_alike,
                r.matching,
                f"{r.largest_difference:.2e}",
                f"{r.tolerance:.1e}",
                "pass" if r.passed else "FAIL",
            )
            for r in reports
        ]
        output.table(columns, rows)

    document = {
        "bundle": str(bundle),
        "passed": all(r.passed for r in reports),
        "tiers": [r.facts() for r in reports],
    }
    output.data(document, text)
    require_pass(reports)
