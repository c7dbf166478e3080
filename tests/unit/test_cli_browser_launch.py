"""What a browser that did not start is said to have died of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mlcweb.browser.driver import driver
from mlcweb.browser.page import launch_reason
from mlcweb.errors import BrowserError

LAUNCHING = (
    "BrowserType.launch_persistent_context: Target closed\nBrowser logs:\n<launching> chromium --no-sandbox\n"
)


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "[pid=9][err] /usr/bin/chromium: 9: [: 25276514304: unexpected operator\n"
            "[pid=9][err] [1/2:ERROR:file_io_posix.cc:145] open cpu0: No such file\n"
            "[pid=9][err] [9:9:FATAL:process_singleton_posix.cc:315] Socket path too long: /tmp/x\n",
            "Socket path too long: /tmp/x",
        ),
        (
            "[pid=9][err] chrome: error while loading shared libraries: libnss3.so: cannot open\n",
            "chrome: error while loading shared libraries: libnss3.so: cannot open",
        ),
        ("[pid=9][err] something odd\n", "something odd"),
        ("", "BrowserType.launch_persistent_context: Target closed"),
    ],
)
def test_reason(log: str, reason: str) -> None:
    assert launch_reason(LAUNCHING + log) == reason


def test_a_driver_that_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", "/bin/false")

    def start() -> None:
        with driver():
            pass

    # a thread has a driver of its own: this one's may be running, for the pages that tests share
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(BrowserError, match="playwright did not start") as caught,
    ):
        pool.submit(start).result()
    assert "libatomic1" in caught.value.hint
