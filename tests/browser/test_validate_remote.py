"""`mlcweb validate --browser-url`: browsers that run already, by both protocols, and what goes wrong with them."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from mlcweb.cli.command import run
from mlcweb.serve import serving
from tests.support.browser.engine_server import EngineServer
from tests.support.browser.mini_bundle import Mini
from tests.support.browser.remote_browsers import devtools_chromium, kill_group, playwright_server
from tests.support.engine import needs_engine

pytestmark = needs_engine


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Mini().write(tmp_path_factory.mktemp("site") / "mini")


def helpers() -> set[str]:
    """Processes of this one's session, as the driver of playwright is; a remote browser has a session of its own."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                session = (entry / "stat").read_text().rsplit(")", 1)[1].split()[3]
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if session == str(os.getsid(0)) and b"playwright" in line:
                found.add(entry.name)
    return found


def wait_for_no_more_than(known: set[str]) -> None:
    for _ in range(300):
        if helpers() <= known:
            return
        time.sleep(0.1)
    raise AssertionError(f"left behind: {helpers() - known}")


def results(out: str) -> list[dict[str, str]]:
    return [{c["name"]: c["result"] for c in report["checks"]} for report in json.loads(out)["bundles"]]


RIGHT = {"files": "pass", "tier f16": "skip", "tier base": "pass"}


def test_chromium_with_a_devtools_port(
    chromium: Path, bundle: Path, host: EngineServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with devtools_chromium(chromium) as (address, process):
        at = f"http://{urlsplit(address).netloc}"
        with urlopen(f"{at}/json/list", timeout=30) as answer:
            pages = len(json.load(answer))
        known = helpers()
        for url, of in ((address, [str(bundle), "--serve-host", "127.0.0.2"]), (at, [f"{host.url}bundle/"])):
            assert run(["validate", *of, "--browser-url", url, "--format", "json"]) == 0
            assert results(capsys.readouterr().out) == [RIGHT]
        elsewhere = ["--browser-url", address, "--serve-host", "192.0.2.1"]
        assert run(["validate", str(bundle), *elsewhere]) == 1
        said = capsys.readouterr().err
        assert "cannot listen on 192.0.2.1" in said and "Give --serve-host an address of this machine" in said
        # Chrome has no browser at this path, but says that it speaks the protocol.
        nowhere = f"ws://{urlsplit(address).netloc}/?token=secret"
        assert run(["validate", str(bundle), "--browser-url", nowhere]) == 1
        said = capsys.readouterr().err
        assert "gives no browser by the DevTools protocol" in said and "secret" not in said
        assert process.poll() is None, "the browser stays"
        with urlopen(f"{at}/json/list", timeout=30) as answer:
            assert len(json.load(answer)) == pages, "no page of ours stays in it"
        wait_for_no_more_than(known)


def test_playwrights_server(
    chromium: Path, bundle: Path, host: EngineServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with playwright_server(chromium) as (address, process):
        known = helpers()
        args = ["validate", str(bundle), f"{host.url}bundle/", "--browser-url", address]
        assert run([*args, "--format", "json"]) == 0
        assert results(capsys.readouterr().out) == [RIGHT, RIGHT]
        assert process.poll() is None
        wait_for_no_more_than(known)
        host.delay = 0.3
        assert _run_and_kill(host, process, args[:1] + args[2:]) == 1
        assert "is gone: it ended, or closed the connection" in capsys.readouterr().err
        wait_for_no_more_than(known)


def _run_and_kill(host: EngineServer, process: object, args: list[str]) -> int:
    """The run's status, when the browser's whole process group is killed as it loads weights."""

    def kill() -> None:
        while not any("weights" in path for path in host.asked[asked:]):
            time.sleep(0.02)
        kill_group(process)  # type: ignore[arg-type]

    asked = len(host.asked)
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    status = run(args)
    killer.join(timeout=60)
    return status


def test_a_remote_browser_that_ends_in_the_middle(
    chromium: Path, host: EngineServer, capsys: pytest.CaptureFixture[str]
) -> None:
    host.delay = 0.3
    known = helpers()
    with devtools_chromium(chromium) as (address, process):
        url = f"{host.url}bundle/"
        assert _run_and_kill(host, process, ["validate", url, url, "--browser-url", address]) == 1
    said = capsys.readouterr().err
    assert "is gone: it ended, or closed the connection" in said
    assert "2 of 2 bundles failed" in said, "the second is not waited for, and not forgotten"
    wait_for_no_more_than(known)


def test_a_remote_browser_without_webgpu(
    chromium: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--disable-gpu", "--disable-software-rasterizer")
    with devtools_chromium(chromium, flags) as (address, _):
        known = helpers()
        assert run(["validate", str(bundle), "--browser-url", address]) == 1
        said = capsys.readouterr().err
        assert "offers no WebGPU here" in said and "start that browser with --enable-unsafe-webgpu" in said
        wait_for_no_more_than(known)


def test_a_url_that_no_browser_is_behind(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = helpers()
    with serving(bundle) as server:
        for scheme, protocol in (("http", "the DevTools protocol"), ("ws", "Playwright's protocol")):
            url = f"{scheme}://127.0.0.1:{server.port}/"
            assert run(["validate", str(bundle), "--browser-url", url]) == 1
            said = capsys.readouterr().err
            assert f"{url} gives no browser by {protocol}" in said and "docs/ci.md" in said
    wait_for_no_more_than(known)
