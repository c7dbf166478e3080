"""What `mlcweb validate` writes for CI: JUnit XML, GitHub's annotations and summary; and how it reads arguments."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mlcweb.browser.remote import RemoteBrowser, speaks_cdp
from mlcweb.cli.command import run
from mlcweb.errors import BrowserError, BundleError, MlcwebError, ValidationError
from mlcweb.validate import BundleReport, Check, expand
from mlcweb.validate.github import add_summary, commands, summary
from mlcweb.validate.junit import junit, write_junit
from mlcweb.validate.sources import is_url, shown

NASTY = "<b>&\"'50%]]> \x00\x1b[31m\ud800 ünïcödé, a: b\r\nnext | `line`"


def report(*checks: Check, bundle: str = "https://models.example/mini/") -> BundleReport:
    return BundleReport(bundle, "mini", "Chrome/156", "an adapter", list(checks), 1.5)


def failed(message: str, hint: str = "") -> Check:
    return Check("tier base", "fail", message, BundleError(message, hint=hint), 0.5)


def test_junit_has_a_suite_for_each_bundle_and_a_case_for_each_check() -> None:
    one = report(Check("files", "pass", "16 files"), Check("tier f16", "skip", "lacks shader-f16"))
    root = ElementTree.fromstring(junit([one, report(failed("no", "try it"), bundle="b")]))
    assert {name: root.get(name) for name in ("tests", "failures", "skipped", "time")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
        "time": "3.000",
    }
    assert [suite.get("name") for suite in root] == ["https://models.example/mini/", "b"]
    cases = root.findall(".//testcase")
    assert [case.get("name") for case in cases] == ["files", "tier f16", "tier base"]
    assert root.findtext(".//system-out") == "16 files"
    skipped, failure = root.find(".//skipped"), root.find(".//failure")
    assert skipped is not None and skipped.get("message") == "lacks shader-f16"
    assert failure is not None and failure.text == "no\ntry it" and failure.get("type") == "bundle"


def test_junit_is_well_formed_whatever_is_said() -> None:
    document = junit([report(failed(NASTY, NASTY), Check("files", "skip", NASTY), bundle=NASTY)])
    failure = ElementTree.fromstring(document).find(".//failure")
    assert failure is not None and failure.text
    for kept in ("<b>&\"'50%]]>", "ünïcödé", "next | `line`"):
        assert kept in failure.text
    assert b"\x00" not in document and b"\x1b" not in document


def test_junit_replaces_the_file_or_says_that_it_cannot(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.xml"
    write_junit(path, [])
    assert ElementTree.parse(path).getroot().get("tests") == "0"
    write_junit(path, [report(failed("no"))])
    assert ElementTree.parse(path).getroot().get("tests") == "1"
    assert os.listdir(path.parent) == ["report.xml"]
    (tmp_path / "file").write_text("")
    with pytest.raises(MlcwebError, match=r"--junit .*file/report\.xml cannot be written"):
        write_junit(tmp_path / "file" / "report.xml", [])


def test_an_unwritable_report_is_found_before_anything_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(["validate", str(tmp_path), "--junit", str(tmp_path / "file" / "r.xml")]) == 1
    assert "--junit" in capsys.readouterr().err


def test_annotations_are_one_line_each() -> None:
    (line,) = commands(report(failed("50% wrong\nhere", "try: a, b"), Check("files", "pass")))
    title = "https%3A//models.example/mini/%3A tier base"
    assert line == f"::error title={title}::50%25 wrong%0Ahere%0Atry: a, b"
    assert "\n" not in commands(report(failed(NASTY, NASTY), bundle=NASTY))[0]


def test_the_summary_is_a_table_that_nothing_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = summary([report(failed(NASTY), Check("files", "pass", "16 files"))]).rstrip().split("\n")
    assert rows[0] == "### mlcweb validate: 1 of 1 bundle failed"
    assert len(rows[2:]) == 2 + 2 and all(row.count("|") == 6 for row in rows[2:])
    assert "<b>" not in "".join(rows) and "&lt;b&gt;" in rows[4]
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    add_summary([], print)
    add_summary([report(failed("no"))], print)
    assert (tmp_path / "summary.md").read_text().count("### mlcweb validate") == 2
    notes: list[str] = []
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    add_summary([], notes.append)
    assert "summary cannot be written" in notes[0]


def test_verdicts_of_a_bundle() -> None:
    with pytest.raises(BundleError, match="no"):
        report(Check("files", "pass"), failed("no")).require_pass()
    with pytest.raises(ValidationError, match="no tier was checked"):
        report(Check("files", "pass"), Check("tier f16", "skip")).require_pass()
    assert not report(Check("files", "pass")).passed


def test_urls_are_named_without_what_may_be_secret() -> None:
    assert is_url("https://a.example/b/") and is_url("HTTP://a/") and not is_url("dist/b")
    assert shown("https://user:secret@a.example/b/?token=secret#x") == "https://a.example/b/"
    assert RemoteBrowser("wss://me:secret@host:3000/x?token=secret").shown == "wss://host:3000/x"


def test_only_a_catalogs_url_is_expanded() -> None:
    sources = [Path("catalog.json"), "https://a.example/b/", "https://a.example/b/?file=/catalog.json"]
    assert list(expand(sources)) == sources


@pytest.mark.parametrize(
    ("address", "cdp"),
    [
        ("http://host:9222", True),
        ("https://host/?token=1", True),
        ("ws://host:9222/devtools/browser/0123", True),
        ("ws://grid:4444/session/0123/se/cdp", True),
        ("wss://host/chromium/playwright?token=1", False),
    ],
)
def test_addresses_that_say_their_protocol(address: str, cdp: bool) -> None:
    assert speaks_cdp(RemoteBrowser(address)) is cdp


def test_an_address_of_no_browser() -> None:
    with pytest.raises(BrowserError, match="is no ws:// or http:// address"):
        speaks_cdp(RemoteBrowser("ftp://host"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(BrowserError, match=r"no browser answers at ws://127.0.0.1:\d+/: .*refused"):
            speaks_cdp(RemoteBrowser(f"ws://127.0.0.1:{unused.getsockname()[1]}/?token=secret"))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--serve-host", "0.0.0.0"], "--serve-host goes with --browser-url"),
        (["--chromium", "chromium", "--browser-url", "ws://host"], "two browsers"),
    ],
)
def test_options_that_contradict_each_other(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["validate", "b", *args]) == 2
    assert said in capsys.readouterr().err
