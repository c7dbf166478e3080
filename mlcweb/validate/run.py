"""Validates a bundle: files first, then the browser, so that a flipped bit is not reported as a wrong answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlcweb.browser.session import LoadOptions, open_session
from mlcweb.errors import ValidationError
from mlcweb.progress import Progress
from mlcweb.validate.report import TierReport


def validate_bundle(
    bundle: Path,
    tiers: Sequence[str],
    chromium: Path | None,
    progress: Progress,
    activations: str | None = None,
) -> list[TierReport]:
    """Verify every file's hash, then replay chats and answer on each tier (the best one when none is named).

    ``activations`` is what prefill computes with: "float", "int8", "matrix", or None for what is faster there.
    """
    from mlcweb.bundle import open_bundle

    opened = open_bundle(bundle)
    for named in tiers:
        opened.tier(named)
    if opened.manifest.validation is None:
        raise ValidationError(
            f"{bundle.name} holds no expected answer", hint="compile it again with this mlcweb"
        )
    opened.verify(progress)
    reports = []
    asked: Sequence[str | None] = tiers or (None,)
    for tier in asked:
        with open_session(bundle, chromium, progress) as session:
            adapter = session.adapter()
            answer = session.validate(LoadOptions(tier, activations), progress)
            reports.append(TierReport.from_engine(answer, adapter.name))
    return reports


def require_pass(reports: Sequence[TierReport]) -> None:
    """Raise ValidationError naming the first tier that does not agree."""
    for report in reports:
        if report.passed:
            continue
        if report.chat_difference:
            raise ValidationError(
                f"the engine and the compiler render chats differently: {report.chat_difference}",
                hint="compile the model again with this mlcweb; if it stays so, report the model's chat template",
            )
        where = f"tier {report.tier} on {report.adapter}" if report.adapter else f"tier {report.tier}"
        if not report.tokens_match:
            said = f"{report.matching} tokens agree, then it says {report.answer!r}"
            raise ValidationError(f"{where} answers differently: {said}{_entry(report)}", hint=HINT)
        raise ValidationError(
            f"{where}: a logit differs by {report.largest_difference:.2e} of its range; "
            f"the tolerance is {report.tolerance:.1e}{_entry(report)}",
            hint=HINT,
        )


def _entry(report: TierReport) -> str:
    return f"; {report.wrong_entry}" if report.wrong_entry else ""


HINT = (
    "try another tier with --tier; when one alone fails, its kernels or this GPU's driver are wrong: "
    "docs/debugging.md goes on from here"
)
