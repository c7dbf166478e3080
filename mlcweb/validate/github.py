"""Says in GitHub Actions what was found: an annotation for each failed check, and a table as the job's summary."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mlcweb.numbers import seconds
from mlcweb.validate.report import BundleReport, Check

_MARKS = {"pass": "✅", "fail": "❌", "skip": "⏭"}


def in_actions() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def commands(report: BundleReport) -> list[str]:
    """A workflow command for each failed check."""
    lines = []
    for check in report.checks:
        if check.result == "fail":
            title = _property(f"{report.bundle}: {check.name}")
            lines.append(f"::error title={title}::{_data(_failure(check))}")
    return lines


def add_summary(reports: Sequence[BundleReport], note: Callable[[str], None]) -> None:
    """Append the table to $GITHUB_STEP_SUMMARY, if there is one; ``note`` takes why it cannot be written."""
    path = os.environ.get("GITHUB_STEP_SUMMARY", "")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(summary(reports))
    except OSError as error:
        note(f"the job's summary cannot be written: {error}")


def summary(reports: Sequence[BundleReport]) -> str:
    """A Markdown table, a row for each check."""
    failed = sum(not report.passed for report in reports)
    count = f"{len(reports)} bundle{'' if len(reports) == 1 else 's'}"
    head = f"{failed} of {count} failed" if failed else f"{count} passed"
    lines = [f"### mlcweb validate: {head}", "", "| | bundle | check | found | time |", "|--|--|--|--|--|"]
    for report in reports:
        for check in report.checks:
            said = _failure(check) if check.result == "fail" else check.said
            cells = [_MARKS[check.result], report.bundle, check.name, said, seconds(check.seconds)]
            lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join([*lines, "", ""])


def _failure(check: Check) -> str:
    if check.error is None:
        return check.said
    return f"{check.error.message}\n{check.error.hint}".strip()


def _data(text: str) -> str:
    """As https://github.com/actions/toolkit has it: the message of a command is one line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    """Text that stays text in a cell: no row, no column, no HTML, no Markdown."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "\\`*_[]|~":
        escaped = escaped.replace(mark, f"&#{ord(mark)};")
    return "<br>".join(escaped.splitlines())
