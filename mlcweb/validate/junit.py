"""Writes reports as JUnit XML, the format that CI servers show: a suite for each bundle, a case for each check."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from mlcweb.errors import MlcwebError
from mlcweb.validate.report import BundleReport, Check

# XML 1.0 has no way to write these, escaped or not (https://www.w3.org/TR/xml/#charsets)
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: Path, reports: Sequence[BundleReport]) -> None:
    """Replace the file with these reports, in one step. Raises MlcwebError where it cannot be written."""
    text = junit(reports)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text)
            os.chmod(name, 0o644)  # a file of mkstemp is its owner's alone; CI reads it as somebody else
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise MlcwebError(
            f"--junit {path} cannot be written: {error.strerror or error}", hint="Give another file."
        ) from error


def junit(reports: Sequence[BundleReport]) -> bytes:
    """The document, in UTF-8."""
    root = ElementTree.Element("testsuites", {"name": "mlcweb validate", **_counts(reports)})
    for report in reports:
        suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(report.bundle), **_counts([report])})
        facts = {"model": report.model, "browser": report.browser, "adapter": report.adapter}
        properties = ElementTree.SubElement(suite, "properties")
        for name, value in facts.items():
            ElementTree.SubElement(properties, "property", name=name, value=_xml(value))
        for check in report.checks:
            _add_case(suite, report, check)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _add_case(suite: ElementTree.Element, report: BundleReport, check: Check) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=_xml(report.bundle), name=_xml(check.name), time=f"{check.seconds:.3f}"
    )
    if check.result == "skip":
        ElementTree.SubElement(case, "skipped", message=_xml(check.said))
    elif check.result == "fail":
        said = check.error.message if check.error else check.said
        kind = check.error.code if check.error else "validation"
        failure = ElementTree.SubElement(case, "failure", message=_xml(said), type=kind)
        failure.text = _xml("\n".join(filter(None, (said, check.error.hint if check.error else ""))))
    elif check.said:
        ElementTree.SubElement(case, "system-out").text = _xml(check.said)


def _counts(reports: Sequence[BundleReport]) -> dict[str, str]:
    results = [check.result for report in reports for check in report.checks]
    return {
        "tests": str(len(results)),
        "failures": str(results.count("fail")),
        "errors": "0",
        "skipped": str(results.count("skip")),
        "time": f"{sum(report.seconds for report in reports):.3f}",
    }


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
