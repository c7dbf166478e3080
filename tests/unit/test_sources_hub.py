"""The hub, as a small HTTP server on this machine that speaks the part of its protocol that downloads use."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from bench.synthetic.tokenizer import write_tokenizer
from tests.support.adapters import lora, make_adapter
from tests.support.llama_gguf import write_gguf
from tests.support.tiny import TinyLlama, make_llama

pytestmark = pytest.mark.slow  # a hub is served, and asked again after waits

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "org/tiny"
ROOT = Path(__file__).parent.parent.parent

# huggingface_hub reads its settings when imported, so each case is a process of its own.
SCRIPT = """
import json, sys
from mlcweb.errors import MlcwebError
from mlcweb.progress import SilentProgress
from mlcweb.sources import open_checkpoint

class Record(SilentProgress):
    total, done, notes = 0, 0, []
    def start(self, stage, total=0, unit="items"): self.total = total
    def advance(self, amount): self.done += amount
    def note(self, text): self.notes.append(text)
progress = Record()
try:
    c = open_checkpoint(sys.argv[1], revision=sys.argv[2] or None, progress=progress)
    norm = float(c.tensors["model.norm.weight"].read().astype("float32").sum())
    result = {"source": c.source, "norm": norm, "fingerprint": c.fingerprint, "eos": c.eos_token_ids,
              "licence": c.licence, "files": sorted(c.tokenizer_files)}
except MlcwebError as error:
    result = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
print(json.dumps(result | {"total": progress.total, "done": progress.done, "notes": progress.notes}))
"""


class Hub(ThreadingHTTPServer):
    """One repository; ``fail`` maps a path's ending to how the request for it goes wrong."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.fail = {}
        self.headers = {}  # of answers that are a status
        self.requests = []
        self.drops = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *args): ...

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.requests.append((self.command, path, self.headers.get("Authorization")))
        kind = next((kind for ending, kind in self.server.fail.items() if path.endswith(ending)), None)
        if kind == "gated":
            return self.reply(401, X_Error_Code="GatedRepo", X_Error_Message="Access is restricted")
        if kind == "no-repo":
            return self.reply(401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        if kind == "no-revision":
            return self.reply(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
        if isinstance(kind, list):  # a status for each request, then the file
            kind = kind.pop(0) if kind else None
        if isinstance(kind, int):
            return self.reply(kind, **self.server.headers)
        if kind in ("page", "json"):
            body = b"<!doctype html><title>Sign in</title>" if kind == "page" else b'{"please": "sign in"}'
            content_type = "text/html; charset=utf-8" if kind == "page" else "application/json"
            return self.reply(200, body, Content_Type=content_type)
        if kind == "portal":
            return self.reply(302, Location="http://127.0.0.1:9/login")
        if path.startswith(f"/api/models/{REPO}"):
            folder = self.server.folder
            siblings = [
                {"rfilename": p.relative_to(folder).as_posix(), "size": p.stat().st_size}
                for p in sorted(folder.rglob("*"))
                if p.is_file()
            ]
            info = {"id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": siblings}
            return self.reply(200, json.dumps(info).encode(), Content_Type="application/json")
        file = self.server.folder / path.split("/resolve/")[-1].split("/", 1)[-1]
        if not file.is_file():
            return self.reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
        body = file.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(body).hexdigest()}"',
            "X_Repo_Commit": COMMIT,
            "Accept_Ranges": "bytes",
        }
        wanted = self.headers.get("Range")
        if wanted and self.command == "GET":
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            if start >= len(body):
                return self.reply(416)
            headers["Content_Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return self.drop_or_send(206, body[start:], headers, kind)
        return self.drop_or_send(200, body, headers, kind)

    def drop_or_send(self, status, body, headers, kind):
        if (
            kind in ("drop-once", "drop")
            and self.command == "GET"
            and (kind == "drop" or not self.server.drops)
        ):
            self.server.drops += 1
            self.reply(status, body[: len(body) // 2], Content_Length=str(len(body)), **headers)
            self.close_connection = True
            return None
        return self.reply(status, body, **headers)


@pytest.fixture
def hub(tmp_path):
    server = Hub(make_llama(tmp_path / "repo", TinyLlama(shards=2)))
    (server.folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    (server.folder / "consolidated.pth").write_text("not needed")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    with contextlib.suppress(OSError):
        server.shutdown()
    server.server_close()


@pytest.fixture
def fetch(hub, tmp_path):
    def run(repo=REPO, revision="", script=SCRIPT, **environment):
        env = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
        env |= {
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        command = [sys.executable, "-c", script, repo, revision]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert done.stdout, done.stderr
        return json.loads(done.stdout) | {"stderr": done.stderr}

    run.home = tmp_path / "hf"
    return run


def test_downloads_what_it_needs_and_records_the_commit(hub, fetch):
    result = fetch(HF_TOKEN="hf_secret")
    assert result["source"] == {"kind": "hub", "id": REPO, "revision": COMMIT}
    expected = float(TinyLlama().weights()["model.norm.weight"].astype("float32").sum())
    assert result["norm"] == expected
    assert result["eos"] == [2]
    assert result["licence"] == "apache-2.0"
    assert result["files"] == ["generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    assert result["done"] == result["total"] > 150_000
    assert result["stderr"] == ""
    got = {path.rsplit("/", 1)[1] for command, path, _ in hub.requests if command == "GET"}
    assert "consolidated.pth" not in got
    assert {token for _, _, token in hub.requests} == {"Bearer hf_secret"}


def test_templates_for_tools_are_downloaded(hub, fetch):
    (hub.folder / "additional_chat_templates").mkdir()
    (hub.folder / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools }}")
    assert "error" not in fetch()
    assert any(path.endswith("/additional_chat_templates/tool_use.jinja") for _, path, _ in hub.requests)


@pytest.mark.slow
def test_offline_with_a_cache_gives_the_same_checkpoint(hub, fetch):
    online = fetch()
    hub.requests.clear()
    offline = fetch(HF_HUB_OFFLINE="1")
    assert hub.requests == []
    assert (offline["fingerprint"], offline["source"]) == (online["fingerprint"], online["source"])
    assert offline["notes"] == [
        f"The hub cannot be reached; using {REPO} at commit {COMMIT[:12]} from the cache."
    ]


def test_an_unreachable_hub_falls_back_to_the_cache(hub, fetch):
    online = fetch()
    hub.shutdown()
    hub.server_close()
    result = fetch()
    assert result["fingerprint"] == online["fingerprint"] and len(result["notes"]) == 1


def test_offline_without_a_cache(fetch):
    result = fetch(HF_HUB_OFFLINE="1")
    assert result["error"] == "SourceError"
    assert "HF_HUB_OFFLINE is set" in result["message"] and "Unset HF_HUB_OFFLINE" in result["hint"]


def test_unreachable_without_a_cache(fetch):
    result = fetch(HF_ENDPOINT="http://127.0.0.1:9")
    assert result["error"] == "SourceError" and "cannot be reached" in result["message"]
    assert "\n" not in result["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", ["/config.json", f"/api/models/{REPO}/revision/main", f"/api/models/{REPO}"]
)
def test_gated(hub, fetch, where):
    hub.fail[where] = "gated"
    result = fetch(revision="main" if where.endswith("main") else "")
    assert (result["error"], result["message"]) == (
        "SourceError",
        f"{REPO}: is gated, and this machine has no access to it",
    )
    assert "Accept the licence" in result["hint"] and "HF_TOKEN" in result["hint"]


def test_no_such_model(hub, fetch):
    hub.fail[f"/api/models/{REPO}"] = "no-repo"
    result = fetch()
    assert result["message"] == f"{REPO}: no such model on the hub, or it is private"


def test_no_such_revision(hub, fetch):
    hub.fail["/revision/v9"] = "no-revision"
    result = fetch(revision="v9")
    assert result["message"] == f"{REPO}: has no revision v9"


@pytest.mark.slow
@pytest.mark.parametrize(("status", "hint"), [(403, "HF_TOKEN"), (418, "later")])
def test_other_answers(hub, fetch, status, hint):
    hub.fail[f"/api/models/{REPO}"] = status
    result = fetch()
    assert f"HTTP status {status}" in result["message"] and hint in result["hint"]


def test_a_dropped_connection_resumes(hub, fetch):
    hub.fail["model-00002-of-00002.safetensors"] = "drop-once"
    result = fetch()
    assert hub.drops == 1
    assert result["norm"] == float(TinyLlama().weights()["model.norm.weight"].astype("float32").sum())
    assert result["done"] == result["total"]


@pytest.mark.slow
def test_a_connection_that_keeps_dropping_is_reported_and_the_next_run_resumes(hub, fetch):
    hub.fail["model-00002-of-00002.safetensors"] = "drop"
    result = fetch()
    assert result["error"] == "SourceError" and "resumes" in result["hint"], result
    assert "\n" not in result["message"]
    offline = fetch(HF_HUB_OFFLINE="1")
    assert offline["error"] == "SourceError" and "not completely in the cache" in offline["message"]
    hub.fail.clear()
    hub.requests.clear()
    assert fetch()["source"]["revision"] == COMMIT
    got = [
        path.rsplit("/", 1)[1]
        for command, path, _ in hub.requests
        if command == "GET" and "/resolve/" in path
    ]
    assert got == ["model-00002-of-00002.safetensors"]


BUSY = [408, 425, 429, 500, 503]


@pytest.mark.slow
@pytest.mark.parametrize("status", BUSY)
def test_a_busy_hub_falls_back_to_the_cache(hub, fetch, status):
    online = fetch()
    hub.fail[f"/api/models/{REPO}"] = status
    result = fetch()
    assert result["fingerprint"] == online["fingerprint"]
    assert result["notes"] == [
        f"The hub is busy (HTTP status {status}); using {REPO} at commit {COMMIT[:12]} from the cache."
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "where"),
    [
        (408, f"/api/models/{REPO}"),
        (425, "/config.json"),
        (429, "model-00002-of-00002.safetensors"),
        (503, "/config.json"),
    ],
)
def test_a_busy_hub_is_asked_again_after_the_time_that_it_says(hub, fetch, status, where):
    hub.fail[where] = [status, status]
    hub.headers = {"Retry_After": "0"}
    result = fetch()
    assert result["fingerprint"] and hub.fail[where] == []
    assert result["notes"] == [f"The hub answered with HTTP status {status}; asking again in 0 s."] * 2


def test_a_busy_hub_is_asked_again_at_a_date_and_without_any(hub, fetch):
    hub.fail[f"/api/models/{REPO}"] = [429]
    hub.headers = {"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert fetch()["notes"] == ["The hub answered with HTTP status 429; asking again in 0 s."]
    shutil.rmtree(fetch.home)
    hub.fail[f"/api/models/{REPO}"] = [425]
    hub.headers = {}
    assert fetch()["notes"] == ["The hub answered with HTTP status 425; asking again in 1 s."]


@pytest.mark.slow
def test_a_hub_that_asks_to_wait_long_is_not_waited_for(hub, fetch):
    hub.fail["model-00002-of-00002.safetensors"] = 429
    hub.headers = {"Retry_After": "3600"}
    result = fetch()
    assert result["message"] == f"{REPO}: the hub answered with HTTP status 429"
    assert "wait 3600 s" in result["hint"] and result["notes"] == []
    hub.fail.clear()
    assert "error" not in fetch()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("page", f"/api/models/{REPO}"),
        ("json", f"/api/models/{REPO}"),
        ("portal", "/config.json"),
        ("page", "model-00002-of-00002.safetensors"),
    ],
)
def test_what_is_not_the_hub_is_told_at_once(hub, fetch, kind, where):
    hub.fail[where] = kind
    result = fetch()
    assert result["error"] == "SourceError"
    assert "what answers is not the hub" in result["message"] and "Sign in to this network" in result["hint"]
    hub.fail.clear()
    online = fetch()
    hub.fail[where] = kind
    result = fetch()
    if where.startswith("/api"):
        assert result["notes"] == [
            f"The hub cannot be reached; using {REPO} at commit {COMMIT[:12]} from the cache."
        ]
    assert result["fingerprint"] == online["fingerprint"]


def test_a_repository_of_pickles_says_what_to_do(hub, fetch):
    for path in hub.folder.glob("model*"):
        path.unlink()
    (hub.folder / "pytorch_model.bin").write_bytes(b"x")
    result = fetch()
    assert result["error"] == "UnsupportedError" and "pickled" in result["message"]


def test_the_one_file_goes_before_an_old_index(hub, fetch):
    model = TinyLlama(seed=1)
    save_file(model.weights(), hub.folder / "model.safetensors")
    result = fetch()
    assert result["norm"] == float(model.weights()["model.norm.weight"].astype("float32").sum())
    assert len(result["notes"]) == 1 and "model.safetensors.index.json" in result["notes"][0]
    assert not any("-of-" in path for _, path, _ in hub.requests)
    offline = fetch(HF_HUB_OFFLINE="1")
    assert offline["fingerprint"] == result["fingerprint"]


@pytest.fixture
def ggufs(hub):
    """The hub has models in GGUF, and no other."""
    for path in hub.folder.glob("model*"):
        path.unlink()
    for name, seed in (("tiny-Q4_K_M.gguf", 1), ("tiny-Q8_0.gguf", 2), ("tiny-BF16.gguf", 3)):
        write_gguf(hub.folder / name, TinyLlama(seed=seed))
    (hub.folder / "mmproj-tiny-f16.gguf").write_bytes(b"not a model")
    return hub.folder


def norm_of(seed):
    return pytest.approx(
        float(TinyLlama(seed=seed).weights()["model.norm.weight"].astype("float32").sum()), rel=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "seed", "file"),
    [
        (f"{REPO}:q4_k_m", 1, "tiny-Q4_K_M.gguf"),
        (f"https://huggingface.co/{REPO}/resolve/main/tiny-Q8_0.gguf?download=true", 2, "tiny-Q8_0.gguf"),
    ],
)
def test_a_gguf_file_is_picked(hub, ggufs, fetch, spec, seed, file):
    result = fetch(spec)
    assert result["norm"] == norm_of(seed)
    assert result["source"] == {"kind": "hub", "id": REPO, "revision": COMMIT, "file": file}
    got = {path.rsplit("/", 1)[1] for command, path, _ in hub.requests if command == "GET"}
    assert {name for name in got if name.endswith(".gguf")} == {file}
    assert result["done"] == result["total"] > 0
    assert fetch(spec, HF_HUB_OFFLINE="1")["fingerprint"] == result["fingerprint"]


def test_the_only_gguf_file_needs_no_name(ggufs, fetch):
    for name in ("tiny-Q4_K_M.gguf", "tiny-BF16.gguf"):
        (ggufs / name).unlink()
    assert fetch()["norm"] == norm_of(2)


def test_which_gguf_files_there_are_is_told(ggufs, fetch):
    result = fetch()
    assert result["error"] == "SourceError" and "3 GGUF files and no safetensors" in result["message"]
    assert f"{REPO}:BF16, {REPO}:Q4_K_M, {REPO}:Q8_0." in result["hint"]


@pytest.mark.slow
def test_all_parts_of_a_gguf_are_downloaded(hub, ggufs, fetch):
    (ggufs / "Q3").mkdir()
    write_gguf(ggufs / "Q3" / "tiny-Q3_K.gguf", TinyLlama(seed=4), per_part=12)
    parts = sorted(path.name for path in (ggufs / "Q3").iterdir())
    assert parts == [f"tiny-Q3_K-0000{i}-of-00002.gguf" for i in (1, 2)]
    result = fetch(f"{REPO}:Q3_K")
    assert result["norm"] == norm_of(4) and result["source"]["file"] == f"Q3/{parts[0]}"
    got = [path.rsplit("/", 1)[1] for command, path, _ in hub.requests if command == "GET"]
    assert got[-2:] == parts
    (ggufs / "Q3" / parts[1]).unlink()
    assert "only 1 parts" in fetch(f"{REPO}:Q3_K", HF_HOME=str(fetch.home.parent / "another"))["message"]


def test_an_address_of_a_model(fetch):
    spec = f"https://huggingface.co/{REPO}/resolve/main/model-00001-of-00002.safetensors"
    assert fetch(spec)["source"] == {"kind": "hub", "id": REPO, "revision": COMMIT}


def test_the_revision_in_an_address_is_asked_for(hub, fetch):
    hub.fail["/revision/v9"] = "no-revision"
    assert fetch(f"https://huggingface.co/{REPO}/tree/v9")["message"] == f"{REPO}: has no revision v9"


@pytest.mark.slow
def test_folders_of_the_hubs_cache(hub, fetch):
    online = fetch()
    repository = fetch.home / "hub" / "models--org--tiny"
    hub.requests.clear()
    for folder in (repository, repository / "snapshots", repository / "snapshots" / COMMIT):
        result = fetch(f"{folder}/")
        assert (result["source"], result["fingerprint"]) == (online["source"], online["fingerprint"])
    assert fetch(str(repository), revision="main")["source"] == online["source"]
    assert f"it holds {COMMIT}" in fetch(str(repository), revision="v9")["message"]
    assert "the snapshot of one commit" in fetch(f"{repository}/snapshots/{COMMIT}", revision="v9")["message"]
    assert hub.requests == []


def test_an_index_naming_a_shard_that_the_repository_lacks(hub, fetch):
    (hub.folder / "model-00002-of-00002.safetensors").unlink()
    result = fetch()
    assert result["error"] == "CheckpointError" and "names model-00002-of-00002" in result["message"]


ADAPTER_SCRIPT = SCRIPT.replace("import open_checkpoint", "import open_adapter").replace(
    """    c = open_checkpoint(sys.argv[1], revision=sys.argv[2] or None, progress=progress)
    norm = float(c.tensors["model.norm.weight"].read().astype("float32").sum())
    result = {"source": c.source, "norm": norm, "fingerprint": c.fingerprint, "eos": c.eos_token_ids,
              "licence": c.licence, "files": sorted(c.tokenizer_files)}
""",
    """    c = open_adapter(sys.argv[1], progress=progress)
    result = {"source": c.source, "fingerprint": c.fingerprint, "changes": sorted(c.changes),
              "licence": c.licence, "files": sorted(c.tokenizer_files)}
""",
)


@pytest.fixture
def adapter(hub):
    """The hub has an adapter in place of the model."""
    for path in (hub.folder).iterdir():
        path.unlink()
    make_adapter(hub.folder, lora("model.layers.0.self_attn.q_proj", 64, 64))
    (hub.folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (hub.folder / "training_args.bin").write_text("not needed")
    return hub.folder


def test_an_adapter_is_downloaded_and_its_commit_recorded(hub, adapter, fetch):
    result = fetch(script=ADAPTER_SCRIPT)
    assert result["source"] == {"adapter": REPO, "adapter_revision": COMMIT}
    assert result["changes"] == ["model.layers.0.self_attn.q_proj.weight"]
    assert (result["licence"], result["files"]) == ("mit", [])
    assert result["done"] == result["total"] > 2000
    assert not any(path.endswith("training_args.bin") for _, path, _ in hub.requests)
    hub.requests.clear()
    offline = fetch(script=ADAPTER_SCRIPT, HF_HUB_OFFLINE="1")
    assert hub.requests == [] and len(offline["notes"]) == 1
    assert (offline["fingerprint"], offline["source"]) == (result["fingerprint"], result["source"])


def test_an_adapters_tokenizer_is_downloaded_with_it(adapter, fetch):
    write_tokenizer(adapter)
    assert fetch(script=ADAPTER_SCRIPT)["files"] == ["tokenizer.json", "tokenizer_config.json"]


def test_an_adapter_of_pickles_and_one_asked_for_as_a_model(adapter, fetch):
    result = fetch()
    assert (
        result["message"] == f"{REPO}: is an adapter, not a model" and f"--adapter {REPO}" in result["hint"]
    )
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    result = fetch(script=ADAPTER_SCRIPT)
    assert result["error"] == "UnsupportedError" and "adapter_model.bin" in result["message"]


def test_a_model_asked_for_as_an_adapter(hub, fetch):
    result = fetch(script=ADAPTER_SCRIPT)
    assert result["message"] == f"{REPO}: has no adapter_config.json" and "SOURCE" in result["hint"]


@pytest.mark.slow
def test_an_adapter_of_which_the_cache_has_a_part(hub, adapter, fetch):
    hub.fail["adapter_model.safetensors"] = "drop"
    assert "resumes" in fetch(script=ADAPTER_SCRIPT)["hint"]
    offline = fetch(script=ADAPTER_SCRIPT, HF_HUB_OFFLINE="1")
    assert offline["error"] == "SourceError" and "not completely in the cache" in offline["message"]
