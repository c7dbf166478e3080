"""Validates bundles: files first, then every tier, so that a flipped bit is not reported as a wrong answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcweb.browser.remote import RemoteBrowser
from mlcweb.browser.session import LoadOptions, Session, open_session
from mlcweb.errors import BrowserError, BundleError, MlcwebError, ValidationError
from mlcweb.numbers import size
from mlcweb.progress import Progress, SilentProgress
from mlcweb.validate.report import BundleReport, Check, Result
from mlcweb.validate.sources import Source, shown
from mlcweb.validate.tier import TierReport

_HOST_CODES = ("network", "web-page", "bundle", "integrity")
_NOT_FOR_THIS_TIER = ("invalid-request", "missing-feature")
_RECOMPILE = "compile it again with this mlcweb"


@dataclass(frozen=True)
class ValidateRequest:
    """``tiers``: by default all that the bundle has and the browser can run, or of these the best with ``best``.
    ``activations`` is what prefill computes with: "float", "int8", "matrix", or None for what is faster there. The
    browser is the one of ``remote``, else ``chromium``, else the one that is found.
    """

    tiers: Sequence[str] = ()
    best: bool = False
    activations: str | None = None
    chromium: Path | None = None
    remote: RemoteBrowser | None = None


def validate_bundle(
    source: Source, request: ValidateRequest = ValidateRequest(), progress: Progress | None = None
) -> BundleReport:
    """Verify every file's hash, then replay chats and answer on each tier. What is wrong is in the report.

    A folder's files are verified here, a URL's in the browser, which loads the tiers from what it verified.
    """
    began = time.monotonic()
    report = _Validation(source, request, progress or SilentProgress()).run()
    report.seconds = time.monotonic() - began
    return report


class _Validation:
    """One bundle's."""

    def __init__(self, source: Source, request: ValidateRequest, progress: Progress) -> None:
        self._source, self._request, self._progress = source, request, progress
        self._report = BundleReport(shown(source))
        self._since = time.monotonic()

    def run(self) -> BundleReport:
        with ExitStack() as stack:
            try:
                what = "files"
                if isinstance(self._source, Path):
                    self._verify_folder(self._source)
                what = "browser"
                session = self._open(stack)
                what = "files"
                described = session.describe()
                if not isinstance(self._source, Path):
                    self._verify_url(session, described)
            except MlcwebError as error:
                self._fail("browser" if error.code == "no-webgpu" else what, error)
                return self._report
            self._check_tiers(stack, session, self._choose(described))
        return self._report

    def _open(self, stack: ExitStack) -> Session:
        opened = open_session(
            self._source, self._request.chromium, self._progress, remote=self._request.remote
        )
        session = stack.enter_context(opened)
        try:
            adapter = session.adapter()
        except BrowserError as error:
            if self._request.remote:
                error.hint = (
                    "start that browser with --enable-unsafe-webgpu, on a machine with a GPU or SwiftShader"
                )
            raise
        self._report.browser, self._report.adapter = adapter.browser, adapter.name
        return session

    def _verify_folder(self, folder: Path) -> None:
        from mlcweb.bundle import open_bundle

        opened = open_bundle(folder)
        self._report.model = opened.manifest.name
        for named in self._request.tiers:
            opened.tier(named)
        if opened.manifest.validation is None:
            raise _no_answer(folder.name)
        opened.verify(self._progress)
        files = opened.manifest.files
        self._pass_files(len(files), sum(entry.bytes for entry in files.values()))

    def _verify_url(self, session: Session, described: Mapping[str, Any]) -> None:
        self._report.model = str(described["name"])
        names = [tier["name"] for tier in described["tiers"]]
        for named in self._request.tiers:
            if named not in names:
                raise BundleError(f"the bundle has no tier {named!r}; it has {', '.join(names)}")
        if not described["validation"]:
            raise _no_answer(self._report.bundle)
        damaged = session.verify_files(self._progress)
        if damaged:
            more = f" ({len(damaged)} of {described['files']} files are wrong)" if len(damaged) > 1 else ""
            raise BundleError(f"{damaged[0]['message']}{more}", hint=damaged[0]["hint"])
        self._pass_files(described["files"], described["bytes"])

    def _choose(self, described: Mapping[str, Any]) -> list[str]:
        """The tiers to check, best first; those that this browser cannot run are skipped, with what it lacks."""
        named, chosen, skipped = self._request.tiers, [], list[str]()
        for tier in described["tiers"]:
            name, missing = str(tier["name"]), ", ".join(tier["missing"])
            if named and name not in named:
                continue
            if missing and not named:
                self._report.checks.append(Check(f"tier {name}", "skip", f"the browser lacks {missing}"))
                skipped.append(f"{name} needs {missing}")
            else:
                chosen.append(name)
        if not chosen:
            error = ValidationError(
                f"no tier can be checked in {self._report.browser}: {'; '.join(skipped)}",
                hint="use a browser whose GPU has these, or compile the bundle with the tier base",
            )
            self._fail("tiers", error)
        return chosen[:1] if self._request.best else chosen

    def _check_tiers(self, stack: ExitStack, session: Session, names: Sequence[str]) -> None:
        """A tier that fails otherwise than by its answer may leave the page broken: the next gets a new one."""
        opened: Session | None = session
        for name in names:
            self._since = time.monotonic()
            try:
                opened = opened or self._open(stack)
                answer = opened.validate(LoadOptions(name, self._request.activations), self._progress)
            except MlcwebError as error:
                if self._request.activations and not self._request.tiers and error.code in _NOT_FOR_THIS_TIER:
                    self._report.checks.append(Check(f"tier {name}", "skip", error.message))
                    continue
                self._fail(f"tier {name}", error)
                opened = None
                stack.close()
                continue
            tier = TierReport.from_engine(answer, self._report.adapter)
            seconds = time.monotonic() - self._since
            said = (
                f"{tier.matching} tokens, logits within {tier.largest_difference:.1e} of {tier.tolerance:.1e}"
            )
            result: Result = "pass" if tier.passed else "fail"
            self._report.checks.append(Check(f"tier {name}", result, said, tier.error, seconds, tier))
        if names and all(check.result != "fail" and not check.tier for check in self._report.checks[1:]):
            nothing = ValidationError(
                f"no tier has a prefill of {self._request.activations}", hint="leave --activations out"
            )
            self._fail("tiers", nothing)

    def _pass_files(self, count: int, total: int) -> None:
        now = time.monotonic()
        said = f"{count} files, {size(total)}"
        self._report.checks.append(Check("files", "pass", said, seconds=now - self._since))
        self._since = now

    def _fail(self, name: str, error: MlcwebError) -> None:
        if not isinstance(self._source, Path) and error.code in _HOST_CODES:
            look = f"`mlcweb check-host {self._report.bundle}` says what a page meets there."
            error.hint = f"{error.hint} {look}".strip()
        elif self._request.remote and error.code in ("network", "serve"):
            error.hint = "Give --serve-host an address of this machine that the browser there can reach."
        seconds = time.monotonic() - self._since
        self._report.checks.append(Check(name, "fail", error.message, error, seconds))


def _no_answer(bundle: str) -> ValidationError:
    return ValidationError(f"{bundle} holds no expected answer", hint=_RECOMPILE)
