"""A page in headless Firefox, on a Vulkan driver in software, which evaluates scripts as playwright's pages do.

Playwright drives a Firefox of its own alone, which it would have to download. This page asks a server for what to do.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.browser.model_page import Site
from tests.support.browser.vulkan import Vulkan

# On Linux Firefox has WebGPU behind the first, and software adapters behind the second.
WEBGPU = """user_pref("dom.webgpu.enabled", true);
user_pref("gfx.webgpu.ignore-blocklist", true);
"""
PREFERENCES = """user_pref("browser.aboutwelcome.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
"""
PAGE = """<!doctype html><meta charset="utf-8"><script type="module">
import "./harness.js";
for (;;) {
  const { script, argument } = await (await fetch("%(control)s")).json();
  const done = await (async () => ({ value: await eval(script)(argument) }))().catch((e) => ({ error: String(e) }));
  await fetch("%(control)s", { method: "POST", body: JSON.stringify(done) });
}
</script>"""


class _Control(ThreadingHTTPServer):
    """Hands out what ``evaluate`` was called with, and takes what came of it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: queue.Queue[str] = queue.Queue()
        self.answered: queue.Queue[dict[str, Any]] = queue.Queue()


class _Handler(BaseHTTPRequestHandler):
    server: _Control

    def do_GET(self) -> None:
        self._answer(self.server.asked.get().encode())

    def do_POST(self) -> None:
        self.server.answered.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


class FirefoxPage:
    """What ``ModelPage`` needs of a playwright page."""

    def __init__(self, control: _Control, firefox: subprocess.Popen[bytes]) -> None:
        self._control, self._firefox = control, firefox

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """What the function that ``script`` is returns for ``argument``, or its promise's value."""
        self._control.asked.put(json.dumps({"script": script, "argument": argument}))
        for _ in range(150):
            try:
                answer = self._control.answered.get(timeout=1)
            except queue.Empty:
                assert self._firefox.poll() is None, f"Firefox ended with {self._firefox.returncode}"
                continue
            assert "error" not in answer, answer["error"]
            return answer["value"]
        raise AssertionError("Firefox does not answer")


@contextmanager
def open_firefox(firefox: Path, vulkan: Vulkan | None, site: Site, folder: Path) -> Iterator[FirefoxPage]:
    """The harness in a Firefox of its own, whose profile is in ``folder``; without WebGPU where there is no driver."""
    profile = folder / "profile"
    profile.mkdir()
    (profile / "user.js").write_text(PREFERENCES + (WEBGPU if vulkan else ""))
    control = _Control()
    thread = threading.Thread(target=control.serve_forever, daemon=True)
    thread.start()
    page = PAGE % {"control": f"http://localhost:{control.server_port}/"}
    (site.folder / "firefox.html").write_text(page)
    command = [firefox, "--headless", "--no-remote", "--profile", profile, f"{site.url}firefox.html"]
    environment = {**os.environ, **(vulkan.environment(folder) if vulkan else {})}
    null = subprocess.DEVNULL
    running = subprocess.Popen(command, env=environment, stdout=null, stderr=null)
    try:
        yield FirefoxPage(control, running)
    finally:
        running.terminate()
        running.wait()
        control.shutdown()
        control.server_close()
        thread.join()
