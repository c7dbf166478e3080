"""``mlcweb check-host`` says what a page on another origin will meet at a bundle's URL."""

from __future__ import annotations

import dataclasses
import re

import click

from mlcweb.cli.options import verb
from mlcweb.cli.output import Output

ORIGIN = "https://page.example"
_HEADER = re.compile(r"[A-Z][A-Za-z-]+: ")


@verb("check-host")
@click.argument("url")
@click.option(
    "--origin",
    metavar="URL",
    default=ORIGIN,
    show_default=True,
    help="The origin of the page that will load the bundle.",
)
def command(output: Output, url: str, origin: str) -> None:
    """Check the host of a published bundle: would a page load it, and how well?

    URL is the bundle's folder as browsers see it. Every file is asked for as a page on another origin asks.
    Each finding is a line with what to set. The exit status is 1 when a load would fail.

    \b
    Example:
      mlcweb check-host https://models.example/SmolLM2-135M-Instruct-q4f32_1/
      mlcweb check-host https://models.example/mine/ --origin https://app.example
      mlcweb check-host https://models.example/mine/ --format json
    """
    from mlcweb.errors import HostError
    from mlcweb.hosting import check_host

    findings = check_host(url, origin.rstrip("/"))
    errors = [finding for finding in findings if finding.level == "error"]

    def text() -> None:
        files: dict[tuple[str, str, str], list[str]] = {}
        for finding in findings:
            files.setdefault((finding.level, finding.said, finding.fix), []).append(finding.file)
        for (level, said, fix), names in files.items():
            where = ", ".join(filter(None, names))
            output.line(f"{level:<7}  {where + ': ' if where else ''}{said}")
            if fix:
                output.line(f"{'':<7}  {'set ' if _HEADER.match(fix) else ''}{fix}")
        if not findings:
            output.line("ok       a page loads this bundle, and nothing could be better")

    document = {"url": url, "origin": origin, "findings": [dataclasses.asdict(f) for f in findings]}
    output.data(document, text)
    if errors:
        raise HostError(
            f"a page on {origin} cannot load {url}",
            hint=f"Mend the {len(errors)} error{'s' if len(errors) > 1 else ''} above.",
        )
