"""The verbs that drive a browser, in real Chromium, on an engine page that only pretends to have a model."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from playwright.sync_api import Error as PlaywrightError

from mlcweb.browser.adapter import probe
from mlcweb.browser.page import open_page
from mlcweb.cli.command import run
from mlcweb.errors import BrowserError, ValidationError
from mlcweb.serve import serving
from mlcweb.serve.server import ENGINE
from mlcweb.validate import TierReport
from tests.support.browser.fake_engine import finish, make_bundle, make_engine

pytestmark = pytest.mark.usefixtures("chromium")


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return make_engine(tmp_path / "engine")


def test_doctor(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCWEB_KERNEL_CACHE", str(tmp_path / "kernels"))
    assert run(["doctor", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["chromium"]["version"].startswith("Chrome/")
    adapter = document["adapter"]
    assert "base" in adapter["tiers"]
    assert adapter["limits"]["maxComputeInvocationsPerWorkgroup"] >= 256
    assert isinstance(adapter["software"], bool)
    assert document["kernel_cache"] == {"path": str(tmp_path / "kernels"), "entries": 0, "bytes": 0}
    monkeypatch.setenv("MLCWEB_KERNEL_CACHE", "")
    assert run(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "Tiers" in said and "off: MLCWEB_KERNEL_CACHE is empty" in said


def test_the_engine_and_the_command_line_see_the_same_adapter(tmp_path: Path) -> None:
    assert (ENGINE / "mlcweb.js").is_file()
    assert probe() == probe(engine=tmp_path)


def test_doctor_sees_16_bit_floats_and_a_cpu(f16_chromium: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--chromium", str(f16_chromium), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["adapter"]["tiers"][:3] == [
        "wasm",
        "software",
        "f16-subgroups",
    ]


def test_chat_streams_and_tells_its_speed(engine: Path, tmp_path: Path) -> None:
    code, out, err = finish(engine, "chat", str(make_bundle(tmp_path / "b")), "Is it so?")
    assert (code, out) == (0, "You asked: Is it so?.\n")
    assert "load weights: 1.0 kB in" in err
    assert "loaded in 0.50 s (tier subgroups)" in err
    assert "prefill 5 tokens at 20.5 tok/s · decode 3 tokens at 3.2 tok/s" in err


def test_chat_in_json(engine: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    code, out, _ = finish(engine, "chat", str(bundle), "Hi", "--tier", "base", "--format", "json")
    document = json.loads(out)
    assert code == 0
    assert (document["answer"], document["tier"]) == ("You asked: Hi.", "base")
    assert document["decode_tokens_per_second"] == 3.25


def test_a_conversation_remembers_and_forgets(engine: Path, tmp_path: Path) -> None:
    lines = "one\ntwo\n/reset\n/nonsense\n\nthree\n/help\n/exit\nnever\n"
    code, out, err = finish(engine, "chat", str(make_bundle(tmp_path / "b")), said=lines)
    assert code == 0
    assert out == "You asked: one.\nYou asked: one then two.\nYou asked: three.\n"
    assert "no such command: /nonsense" in err
    assert "/reset       forgets" in err


def test_a_picture_goes_with_the_next_message(engine: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a picture.png"
    picture.write_bytes(b"any bytes: the browser looks at them")
    lines = f"/image {picture}\n/image {tmp_path}/none.png\n/reset\none\n"
    code, out, err = finish(engine, "chat", str(make_bundle(tmp_path / "b")), said=lines)
    assert (code, out) == (0, "You asked: one.\n"), "what was forgotten is not sent"
    assert "a picture.png goes with the next message" in err
    assert "none.png: cannot be read: No such file" in err


def test_a_conversation_ends_with_its_input(engine: Path, tmp_path: Path) -> None:
    code, out, _ = finish(engine, "chat", str(make_bundle(tmp_path / "b")), said="one\n")
    assert (code, out) == (0, "You asked: one.\n")


@pytest.mark.parametrize(
    ("mode", "code", "message"),
    [
        ("integrity", "integrity", "weights-000.0123abcd.bin is damaged"),
        ("throws", "browser", "a defect in the page"),
    ],
)
def test_what_goes_wrong_in_the_page(
    engine: Path, tmp_path: Path, mode: str, code: str, message: str
) -> None:
    bundle = make_bundle(tmp_path / "b", mode)
    status, out, err = finish(engine, "chat", str(bundle), "Hi", "--format", "json")
    assert status == 1
    assert json.loads(out)["error"]["code"] == code
    assert message in json.loads(out)["error"]["message"]
    assert "Traceback" not in err


def test_bench(engine: Path, tmp_path: Path) -> None:
    args = ("--prefill", "64", "--decode", "16", "--repeats", "1", "--format", "json")
    code, out, _ = finish(engine, "bench", str(make_bundle(tmp_path / "b")), *args)
    assert code == 0
    document = json.loads(out)
    assert (document["prefill_tokens_per_second"], document["decode_tokens_per_second"]) == (640, 32)
    assert document["browser"].startswith("Chrome/")
    assert (document["load"]["first_token_seconds"], document["load_again"]["seconds"]) == (0.75, 0.125)


def test_a_browser_that_does_not_start(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "chrome"
    broken.write_text(
        "#!/bin/sh\necho 'chrome: error while loading shared libraries: libnss3.so' >&2; exit 127\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv("MLCWEB_CHROMIUM", str(broken))
    code, _, err = finish(engine, "chat", str(make_bundle(tmp_path / "b")), "Hi")
    assert code == 1
    assert "did not start: chrome: error while loading shared libraries: libnss3.so" in err


def test_an_engine_whose_script_fails(engine: Path) -> None:
    (engine / "harness.js").write_text("throw new Error('broken build')")
    with serving(None, engine=engine) as server, open_page() as page:
        with pytest.raises(BrowserError, match="broken build"):
            page.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)", ready_seconds=2)
        with pytest.raises(BrowserError, match="404"):
            page.open(f"{server.url}missing.html")


def test_a_page_that_crashes(engine: Path) -> None:
    with serving(None, engine=engine) as server, open_page() as page:
        page.open(f"{server.url}harness.html", ready="() => Boolean(window.mlcweb)")
        with contextlib.suppress(PlaywrightError):
            page.raw.goto("chrome://crash")
        with pytest.raises(BrowserError, match="crashed") as caught:
            page.call("bench", {})
        assert "memory" in caught.value.hint


def report(**changes: object) -> TierReport:
    found: dict[str, object] = {
        "tier": "base",
        "activations": "float",
        "greedy": [1, 2, 3],
        "expected": [1, 2, 3],
        "greedy_mismatch_at": -1,
        "max_relative_difference": 1e-4,
        "steps": [{"ok": True}] * 3,
        "tolerance": 1e-3,
        "answer": "Paris",
        "seconds": 1,
        "chats": [{"difference": None}, {"difference": None}],
        "texts": [],
        "picture": None,
    }
    return TierReport.from_engine({**found, **changes}, "an adapter")


def require_pass(reports: list[TierReport]) -> None:
    for each in reports:
        if each.error:
            raise each.error


def test_verdicts() -> None:
    assert report().passed
    require_pass([report()])
    with pytest.raises(ValidationError, match="2 of 3 tokens agree"):
        require_pass([report(), report(greedy=[1, 2, 4], greedy_mismatch_at=2)])
    with pytest.raises(ValidationError, match="differs by"):
        require_pass([report(max_relative_difference=0.5)])
    with pytest.raises(ValidationError, match="off from step 1, which decode makes"):
        require_pass([report(max_relative_difference=0.5, steps=[{"ok": True}, {"ok": False}])])
    other = report(chats=[{"difference": None}, {"difference": "at character 7 …"}])
    assert not other.passed and other.chats_alike == "1 of 2"
    with pytest.raises(ValidationError, match="chat 2 of 2: at character 7"):
        require_pass([other])
    assert report(chats=[]).passed, "a bundle of before there were any"
    assert report(picture={"relative_difference": 1e-4, "ok": True}).passed
    for off in (0.5, None):  # what is no number has become null on the way
        with pytest.raises(ValidationError, match="after a picture differs by"):
            require_pass([report(picture={"relative_difference": off, "ok": False})])
    missing = report(max_relative_difference=None)
    assert not missing.passed
    assert missing.facts()["largest_difference"] is None
