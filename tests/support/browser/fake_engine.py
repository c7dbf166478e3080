"""An engine page with no model behind it: its functions answer at once, so that only the driver is tested.

What goes wrong is written in the bundle's mlcweb.json, as ``{"fake": "<mode>"}``.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HTML = '<!doctype html><title>fake</title><script type="module" src="./harness.js"></script>'
SCRIPT = """
const sleep = ms => new Promise(r => setTimeout(r, ms));
let mode, interrupted = false;
const failure = (code, message, hint) => ({ error: { code, message, hint } });
const extra = { prefill_tokens_per_s: 20.5, decode_tokens_per_s: 3.25, cached_prompt_tokens: 4 };
const usage = { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12, extra };
window.mlcweb = {
  async load(url, options) {
    mode = (await (await fetch(new URL("mlcweb.json", url))).json()).fake;
    if (mode === "integrity") return failure("integrity", "weights-000.0123abcd.bin is damaged", "Again.");
    if (mode === "throws") throw new Error("a defect in the page");
    if (mode === "hangs") await sleep(600000);
    const totalBytes = 1000;
    for (const loadedBytes of [0, 400, 1000]) {
      await window.mlcwebProgress({ stage: "weights", loadedBytes, totalBytes });
    }
    await window.mlcwebProgress({ stage: "kernels", loadedBytes: totalBytes, totalBytes });
    const { tier = "subgroups", activations = "float" } = options;
    return { info: { name: "Fake", tier, activations, timings: { total_s: 0.5 } } };
  },
  interrupt() { interrupted = true; },
  async chat(messages, options) {
    interrupted = false;
    const asked = messages.filter(m => m.role === "user").map(m => m.content).join(" then ");
    let text = "";
    for (const piece of mode === "endless" ? Array(10000).fill("la ") : ["You asked: ", asked, "."]) {
      text += piece;
      await window.mlcwebDelta(piece);
      if (mode === "endless") await sleep(20);
      if (interrupted) return { text, finish_reason: "abort", usage, logprobs: [] };
    }
    return { text, finish_reason: "stop", usage, logprobs: [] };
  },
  async benchLoad(url, options) {
    const visit = { load_s: 0.5, weights_s: 0.4, first_token_s: 0.75 };
    const { info } = await this.load(url, options);
    return { bytes: 1000, fetch_s: 0.25, first: visit, again: { ...visit, load_s: 0.125 }, info };
  },
  async bench({ prefill, decode }) {
    const speeds = { prefill_tokens_per_s: prefill * 10, decode_tokens_per_s: decode * 2 };
    return { median: { ...speeds, time_to_first_token_s: 0.1 } };
  },
};
"""
COMMAND = (
    "import sys, pathlib, mlcweb.serve.server as server;"
    "server.ENGINE = pathlib.Path(sys.argv.pop(1));"
    "from mlcweb.cli import main; sys.exit(main())"
)


def make_engine(folder: Path) -> Path:
    """The fake engine's files."""
    folder.mkdir(exist_ok=True)
    (folder / "harness.html").write_text(HTML)
    (folder / "harness.js").write_text(SCRIPT)
    return folder


def make_bundle(folder: Path, mode: str = "") -> Path:
    """A bundle that is no more than its mode."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlcweb.json").write_text(json.dumps({"fake": mode}))
    return folder


def start(engine: Path, args: Sequence[str], **options: object) -> subprocess.Popen[str]:
    """The command line in a process of its own, with the fake engine in the real one's place."""
    # a shell's background jobs ignore Ctrl-C, and so would what they start
    options.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", COMMAND, str(engine), *args]
    return subprocess.Popen(command, text=True, **{**streams, **options})  # type: ignore[call-overload,no-any-return]


def finish(engine: Path, *args: str, said: str | None = None) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a whole run."""
    process = start(engine, args, **({"stdin": subprocess.PIPE} if said is not None else {}))
    out, err = process.communicate(said, timeout=120)
    return process.returncode, out, err
