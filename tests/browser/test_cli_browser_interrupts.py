"""Ctrl-C, and being killed: the answer stops, the exit status tells, nothing stays behind."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser.fake_engine import make_bundle, make_engine, start

pytestmark = pytest.mark.usefixtures("chromium")


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return make_engine(tmp_path / "engine")


@pytest.fixture
def own_temp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this test's browsers keep their profiles: a short path, since Chromium makes sockets in it."""
    with tempfile.TemporaryDirectory(prefix="mw", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def processes_naming(text: str) -> list[str]:
    """Command lines that contain ``text``; the browser's name its profile."""
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line:
                processes.append(line)
    return processes


def wait_until_gone(profile: str) -> None:
    for _ in range(600):
        if not processes_naming(profile):
            return
        time.sleep(0.1)
    raise AssertionError(processes_naming(profile))


def test_ctrl_c_stops_a_single_answer(engine: Path, tmp_path: Path, own_temp: Path) -> None:
    process = start(engine, ["chat", str(make_bundle(tmp_path / "b", "endless")), "Sing"])
    assert process.stdout is not None
    assert process.stdout.read(9) == "la la la "
    assert processes_naming(str(own_temp))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.endswith("\n")
    assert err.rstrip().endswith("error: interrupted")
    assert "decode 3 tokens" in err
    wait_until_gone(str(own_temp))
    assert list(own_temp.glob("mlcweb-profile-*")) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_loading(
    engine: Path, tmp_path: Path, own_temp: Path, number: signal.Signals, status: int
) -> None:
    process = start(engine, ["chat", str(make_bundle(tmp_path / "b", "hangs")), "Hi"])
    for _ in range(200):
        if processes_naming(str(own_temp)):
            break
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == status
    wait_until_gone(str(own_temp))
    assert list(own_temp.glob("mlcweb-profile-*")) == []


def test_even_a_kill_leaves_no_browser(engine: Path, tmp_path: Path, own_temp: Path) -> None:
    process = start(engine, ["chat", str(make_bundle(tmp_path / "b", "endless")), "Sing"])
    assert process.stdout is not None
    process.stdout.read(6)
    process.kill()
    process.communicate(timeout=60)
    wait_until_gone(str(own_temp))


class Terminal:
    """A conversation at a terminal of its own."""

    def __init__(self, engine: Path, bundle: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.process = start(engine, ["chat", str(bundle)], stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.said = ""

    def wait_for(self, text: str) -> None:
        """Read on until ``text`` was said after the last text waited for."""
        while text not in self.said:
            assert select.select([self._ours], [], [], 60)[0], f"no {text!r} after {self.said!r}"
            self.said += os.read(self._ours, 4096).decode(errors="replace")
        self.said = self.said.split(text, 1)[1]

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def close(self) -> None:
        os.close(self._ours)


def test_in_a_conversation_ctrl_c_stops_the_answer_only(engine: Path, tmp_path: Path, own_temp: Path) -> None:
    terminal = Terminal(engine, make_bundle(tmp_path / "b", "endless"))
    try:
        terminal.wait_for("> ")
        terminal.type("Sing\n")
        terminal.wait_for("la la la ")
        terminal.process.send_signal(signal.SIGINT)
        terminal.wait_for("decode 3 tokens")
        terminal.wait_for("> ")
        time.sleep(
            0.5
        )  # readline prints the prompt just before it begins to wait, and only then hears signals
        terminal.process.send_signal(signal.SIGINT)
        terminal.wait_for("/exit leaves")
        terminal.wait_for("> ")
        terminal.type("/exit\n")
        assert terminal.process.wait(timeout=60) == 0
    except BaseException:
        terminal.process.kill()
        raise
    finally:
        terminal.close()
    wait_until_gone(str(own_temp))


def test_serve_until_ctrl_c(engine: Path, tmp_path: Path) -> None:
    (engine / "chat.html").write_text("<title>chat</title>")
    process = start(
        engine, ["serve", str(make_bundle(tmp_path / "b")), "--port", "0"], stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Local:   http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped" in err
