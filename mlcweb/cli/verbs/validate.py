"""``mlcweb validate`` checks that bundles compute what their compiler promised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlcweb.cli.options import TIERS, activations_option, chromium_option, complete_bundle, find_bundle, verb
from mlcweb.cli.output import Output

if TYPE_CHECKING:
    from mlcweb.errors import MlcwebError
    from mlcweb.validate import BundleReport, ValidateRequest

COLUMNS = ("TIER", "PREFILL", "CHATS ALIKE", "TOKENS MATCH", "LARGEST DIFFERENCE", "TOLERANCE", "RESULT")


@verb("validate")
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, shell_complete=complete_bundle)
@click.option(
    "--tier",
    "tiers",
    type=click.Choice(TIERS),
    multiple=True,
    help="Check only this tier; may be repeated. By default all that the browser can run.",
)
@activations_option
@click.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what was found to this file, as JUnit XML.",
)
@click.option(
    "--browser-url",
    metavar="URL",
    help="A browser that runs already, here or elsewhere: ws:// of Playwright's server, ws:// or http:// of what "
    "speaks Chrome's DevTools protocol.",
)
@click.option(
    "--serve-host",
    metavar="ADDRESS",
    help="With --browser-url, this machine's address as that browser reaches it; for folders, which are served there.",
)
@chromium_option
def command(
    output: Output,
    bundles: tuple[str, ...],
    tiers: tuple[str, ...],
    activations: str | None,
    junit: Path | None,
    browser_url: str | None,
    serve_host: str | None,
    chromium: Path | None,
) -> None:
    """Check bundles' files and answers.

    A BUNDLE is a folder, the URL of a published bundle, or the URL of a catalog.json, which means all bundles in it.
    Verifies every file. Then, in headless Chromium, renders the example chats and compares their text and tokens with
    the compiler's, and repeats the expected answer, on every tier that the browser can run. What is at a URL is loaded
    from there, by a page on another origin.

    Goes on after a bundle that fails. Exits with 1 when a file is damaged, a chat or a token differs, a logit differs
    by more than the tolerance, or nothing could be checked.

    \b
    Example:
      mlcweb validate SmolLM2-135M-Instruct-q4f32_1
      mlcweb validate dist/SmolLM2-135M-Instruct-q4f16_1 --tier base --tier subgroups
      mlcweb validate https://models.example/SmolLM2-135M-Instruct-q4f32_1/ --junit report.xml
      mlcweb validate https://models.example/catalog.json --browser-url ws://browsers.example:3000
    """
    from mlcweb.browser.remote import RemoteBrowser
    from mlcweb.validate import ValidateRequest
    from mlcweb.validate.github import add_summary, commands, in_actions
    from mlcweb.validate.junit import write_junit

    if browser_url is None and serve_host is not None:
        raise click.UsageError("--serve-host goes with --browser-url")
    if browser_url is not None and chromium is not None:
        raise click.UsageError("--chromium and --browser-url are two browsers: give one")
    remote = RemoteBrowser(browser_url, serve_host or "127.0.0.1") if browser_url else None
    request = ValidateRequest(tiers, activations=activations, chromium=chromium, remote=remote)
    reports: list[BundleReport] = []
    if junit:
        # in place of an older one; and a path that cannot be written ends this now
        write_junit(junit, reports)
    for report in _validated(output, bundles, request):
        reports.append(report)
        if junit:
            write_junit(junit, reports)
        if in_actions():
            for line in commands(report):
                output.note(line)
    if in_actions():
        add_summary(reports, output.note)
    document = {
        "passed": all(report.passed for report in reports),
        "bundles": [report.facts() for report in reports],
    }
    output.data(document, lambda: _text(output, reports))
    _require_pass(output, reports)


def _validated(output: Output, bundles: Sequence[str], request: ValidateRequest) -> Iterator[BundleReport]:
    """A report for each; what names no bundle is a bundle that fails."""
    from mlcweb.errors import MlcwebError, ValidationError
    from mlcweb.validate import expand, validate_bundle
    from mlcweb.validate.sources import is_url, shown

    for value in bundles:
        try:
            sources = list(expand([value])) if is_url(value) else [find_bundle(value)]
        except MlcwebError as error:
            yield _unfound(shown(value) if is_url(value) else value, error)
            continue
        if not sources:
            empty = ValidationError(f"{shown(value)} lists no bundles: there is nothing to check")
            yield _unfound(shown(value), empty)
        for source in sources:
            with output.progress() as progress:
                if len(bundles) + len(sources) > 2:
                    progress.note(shown(source))
                yield validate_bundle(source, request, progress)


def _unfound(bundle: str, error: MlcwebError) -> BundleReport:
    from mlcweb.validate import BundleReport, Check

    return BundleReport(bundle, checks=[Check("files", "fail", error.message, error)])


def _text(output: Output, reports: Sequence[BundleReport]) -> None:
    several = len(reports) > 1
    rows = [(report.bundle, *row) if several else row for report in reports for row in _rows(report)]
    if rows:
        output.table(("BUNDLE", *COLUMNS) if several else COLUMNS, rows)


def _rows(report: BundleReport) -> Iterator[tuple[str, ...]]:
    """One for each tier, and one for what kept the tiers from being checked."""
    for check in report.checks:
        name = check.name.removeprefix("tier ")
        if tier := check.tier:
            difference, tolerance = f"{tier.largest_difference:.2e}", f"{tier.tolerance:.1e}"
            found = (tier.activations, tier.chats_alike, tier.matching, difference, tolerance)
            yield (name, *found, "pass" if tier.passed else "FAIL")
        elif check.result != "pass":
            said = f"skip: {check.said}" if check.result == "skip" else "FAIL"
            yield (name, "", "", "", "", "", said)


def _require_pass(output: Output, reports: Sequence[BundleReport]) -> None:
    """Say what failed, all of it. Raises the one failure there is, or ValidationError that counts them."""
    from mlcweb.errors import ValidationError

    if len(reports) == 1 and sum(check.result == "fail" for check in reports[0].checks) < 2:
        reports[0].require_pass()
        return
    failed = [report for report in reports if not report.passed]
    for report in failed:
        for check in report.checks:
            if check.error:
                output.note(f"{report.bundle}: {check.name}: {check.error.message}")
                if check.error.hint:
                    output.note(f"  {check.error.hint}")
    if failed:
        what = "bundle" if len(reports) == 1 else "bundles"
        raise ValidationError(f"{len(failed)} of {len(reports)} {what} failed", hint="see above")
