"""What `make peers` runs, without its browsers and peers: the measurement, and what it says when something lacks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "bench" / "peers"
NODE = shutil.which("node", path=f"{ROOT / '.venv' / 'bin'}:{os.environ.get('PATH', '')}")
pytestmark = pytest.mark.skipif(NODE is None, reason="no Node here")


def node(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    assert NODE
    return subprocess.run(
        [NODE, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def evaluate(folder: Path, script: str) -> object:
    """What a module prints as JSON; it sees `promptOf` and `measure`."""
    file = folder / "script.mjs"
    # Node takes a .js file for a module when its package.json says so, as that of bench/peers does
    file.write_text(
        f'import {{ promptOf, measure }} from "{PEERS}/contenders/measure.js";\n'
        f"console.log(JSON.stringify(await (async () => {{ {script} }})()));"
    )
    done = node(file)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_prompt_has_as_many_tokens_as_asked(tmp_path: Path) -> None:
    script = """
      const length = async (text) => text.split(" ").filter(Boolean).length;
      const text = await promptOf(37, length);
      const odd = await promptOf(5, async (text) => text.length * 2).catch(String);
      const letters = (await promptOf(40, async (text) => text.length)).length;
      return [await length(text), text === await promptOf(37, length), letters, odd];
    """
    count, same, letters, refused = evaluate(tmp_path, script)  # type: ignore[misc]
    assert (count, same, letters) == (37, True, 40)
    assert "no prompt of exactly 5 tokens" in refused


def test_first_token_and_what_follows_are_told_apart(tmp_path: Path) -> None:
    """A contender that thinks for 60 ms, then gives a token each 10 ms: generous bounds, since timers are late."""
    script = """
      const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
      const asked = [];
      const contender = { async *answer(prompt, tokens) {
        asked.push(tokens);
        await sleep(60);
        for (let i = 0; i < tokens; i++) { if (i) await sleep(10); yield {}; }
        yield { end: true, promptTokens: 31, tokens };
      } };
      return { ...(await measure(contender, "text", 30, 8, 3)), asked };
    """
    actual = evaluate(tmp_path, script)
    assert isinstance(actual, dict)
    assert actual["asked"] == [5, 9, 9, 9], "a short warm-up, and one token more than is decoded"
    assert actual["prompt_tokens"] == 31, "as the contender counts"
    assert actual["first_token_s"] >= 0.055
    assert actual["prefill_tokens_per_s"] == pytest.approx(30 / actual["first_token_s"])
    assert 0 < actual["decode_tokens_per_s"] <= 105


def test_an_answer_that_ends_early_is_no_measurement(tmp_path: Path) -> None:
    script = """
      const contender = { async *answer() { yield {}; yield {}; } };
      return measure(contender, "text", 3, 8, 1).catch((error) => error.message);
    """
    assert evaluate(tmp_path, script) == "2 tokens came instead of 5"


def test_what_lacks_is_said_in_a_line(tmp_path: Path) -> None:
    assert node(PEERS / "run.mjs").returncode == 2
    helped = node(PEERS / "run.mjs", "--help")
    assert helped.returncode == 0 and "--web-llm-library" in helped.stderr
    done = node(PEERS / "run.mjs", "--bundle", tmp_path, "--gguf", tmp_path / "missing.gguf")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and "is not there" in done.stderr


def transformers_folder(folder: Path, *files: str) -> list[Path]:
    """Arguments for bench/peers/transformers.mjs, of which nothing can run: engine, bundle and peer."""
    for file in ("engine/mlcweb.js", "bundle/mlcweb.json", *files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("{}")
    return [folder / "engine", folder / "bundle", folder / "peer"]


def test_transformers_js_needs_its_folder_and_models(tmp_path: Path) -> None:
    script = PEERS / "transformers.mjs"
    helped = node(script, "--help")
    assert helped.returncode == 0 and "PEER_DIR" in helped.stdout and "--decode N" in helped.stdout
    assert node(script).returncode == 2
    assert node(script, "pictures", *transformers_folder(tmp_path)).returncode == 2, "no such kind"
    done = node(script, "texts", *transformers_folder(tmp_path))
    assert done.returncode == 2 and "versions.json is not there" in done.stderr
    folders = transformers_folder(
        tmp_path, "peer/runtime/versions.json", "peer/models/some/onnx/model_fp16.onnx"
    )
    done = node(script, "texts", "--model", "some:q8", *folders)
    assert done.returncode == 2 and "has some:fp16" in done.stderr
    done = node(script, "decode", "--texts", "3", *folders)
    assert done.returncode == 2 and "--texts" in done.stderr, "an option of another kind"
    done = node(script, "texts", *folders, CHROME="", MLCWEB_CHROMIUM="/nowhere/chromium")
    assert done.returncode == 1 and "/nowhere/chromium did not start" in done.stderr


def test_a_ratio_says_how_many_times_theirs_our_speed_is(tmp_path: Path) -> None:
    script = tmp_path / "rows.mjs"
    script.write_text(f"""
      import {{ DECODE }} from "{PEERS}/transformers_decode.mjs";
      import {{ TEXTS }} from "{PEERS}/transformers_texts.mjs";
      const texts = (name, tokens_s, texts_s) =>
        ({{ name, load_s: 1, runs: 3, tokens_s, texts_s, least_cosine: 1, mean_cosine_of_others: 0.5 }});
      const decode = (name, prefill_tokens_per_s, decode_tokens_per_s) =>
        ({{ name, load_s: 1, first_s: 1, prefill_tokens_per_s, decode_tokens_per_s }});
      const bytes = {{ mlcweb: 1e6, theirs: 2e6 }};
      const settings = {{ texts: 100, tokens: 10 }};
      const rows = [
        TEXTS.rows({{ settings, bytes, measured: [texts("mlcweb", 0.5, 1), texts("theirs", 1, 3)] }}),
        DECODE.rows({{ bytes, measured: [decode("mlcweb", 800, 90), decode("theirs", 200, 60)] }}),
      ];
      const heads = [TEXTS.head, DECODE.head];
      console.log(JSON.stringify(rows.map(([, row], i) => heads[i].map((name, at) => [name, row[at]]))));
    """)
    done = node(script)
    assert done.returncode == 0, done.stderr
    texts, decode = ([text for name, text in row if name == "ours is"] for row in json.loads(done.stdout))
    assert texts == ["2.00 x", "3.00 x"]
    assert decode == ["4.00 x", "1.50 x"]


def test_a_browser_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = node(
        ROOT / "bench" / "remote.mjs", tmp_path, tmp_path, CHROME="", MLCWEB_CHROMIUM="/nowhere/chromium"
    )
    assert done.returncode == 1
    assert "/nowhere/chromium did not start" in done.stderr
    assert node(ROOT / "bench" / "remote.mjs", "--profile", "x").returncode == 2
