"""``mlcweb publish`` and ``mlcweb list --catalog`` on the command line."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mlcweb.cli.command import run
from tests.support.bundle_sample import make_bundle
from tests.support.published import in_folder, sha256_of, whole_model

NAME = "Sample-q4f32_1"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle").path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and its address on a web server."""
    root = tmp_path / "www"
    root.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield root, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_json_tells_what_was_sent(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "there"
    assert run(["publish", str(bundle), str(target), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (said,) = document["bundles"]
    assert said["sent"]["files"] == 13 and said["there"] == {"files": 0, "bytes": 0}
    assert said["path"] == f"{target}/{NAME}/" and said["manifest_sha256"] == sha256_of(bundle)
    assert (document["catalog"], document["dry_run"]) == ("sent", False)


def test_text_tells_it_too(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "there")
    assert run(["publish", str(bundle), target, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "13 files to send (3." in said.out and "manifest to send" in said.out
    assert "nothing was changed" in said.err and not Path(target).exists()
    assert run(["publish", str(bundle), target]) == 0
    assert "13 files sent (3." in capsys.readouterr().out
    assert run(["publish", str(bundle), target]) == 0
    said = capsys.readouterr()
    assert "13 files there already (3." in said.out and "manifest unchanged" in said.out
    assert "catalog.json" in said.err


def test_without_obstore_the_error_says_what_to_install(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "obstore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "obstore", None)
    assert run(["publish", str(bundle), "s3://bucket/x", "--format", "json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "publish" and "pip install 'mlcweb[publish]'" in error["hint"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("", "the target is empty"),
        ("ftp://host/x", "ftp:// is unknown"),
        ("s3://", "names no bucket"),
        ("hf://org", "names no bucket or repository"),
        ("s3://bucket/a/../b", "no empty part, . or .."),
        ("s3://bucket//b", "no empty part, . or .."),
    ],
)
def test_a_target_that_means_nothing_is_refused(
    target: str, said: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["publish", str(bundle), target]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("grace", ["7", "a week", "-1d", "1y"])
def test_a_time_that_is_none_is_wrong_usage(
    grace: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["publish", str(bundle), str(tmp_path), "--prune", "--grace", grace]) == 2
    assert "is no time such as 7d" in capsys.readouterr().err


def test_read_back_from_a_web_server(
    bundle: Path, served: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    root, url = served
    assert run(["publish", str(bundle), str(root), "--public-url", url, "--verify", "full"]) == 0
    said = capsys.readouterr().err  # this server sends no headers
    assert "no Access-Control-Allow-Origin" in said and "without Cache-Control: no-cache" in said
    assert whole_model(in_folder(root), NAME) == sha256_of(bundle)
    assert run(["publish", str(bundle), str(root), "--public-url", f"{url}/elsewhere"]) == 1
    assert "is not at the target, or may not be read there" in capsys.readouterr().err
    assert run(["publish", str(bundle), str(root), "--public-url", "models.example"]) == 1
    assert "no http:// or https://" in capsys.readouterr().err


def test_a_catalog_is_listed_from_a_folder_a_file_and_an_address(
    bundle: Path, tmp_path: Path, served: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    root, url = served
    other = make_bundle(tmp_path / "other", name="Other-q4f32_1", source="org/other").path
    assert run(["publish", str(bundle), str(other), str(root)]) == 0
    capsys.readouterr()
    shown = []
    for where in (str(root), str(root / "catalog.json"), url, f"{url}/catalog.json"):
        assert run(["list", "--catalog", where, "--format", "json"]) == 0
        shown.append(json.loads(capsys.readouterr().out)["models"])
    assert all(models == shown[0] for models in shown)
    assert [model["id"] for model in shown[0]] == ["Other-q4f32_1", NAME]
    assert run(["list", "--catalog", url, "ORG/other"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["FAMILY", "NAME", "FOR", "PARAMETERS"]
    assert "Other-q4f32_1" in row and "subgroups, base" in row and "apache-2.0" in row
    assert run(["list", "--catalog", url, "--quant", "q0f16"]) == 1
    assert "no model of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no catalog.json at"),
        ("<html>", "not valid JSON"),
        ("{}", "format"),
        ("x" * 100, "not valid JSON"),
    ],
)
def test_what_is_no_catalog_is_refused(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "catalog.json").write_text(content)
    assert run(["list", "--catalog", str(tmp_path)]) == 1
    assert said in capsys.readouterr().err


def test_a_web_server_without_a_catalog(served: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--catalog", served[1]]) == 1
    assert "HTTP status 404" in capsys.readouterr().err
    assert run(["list", "--catalog", "http://127.0.0.1:1/"]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "variables", "said", "hint"),
    [
        ("az://models/x", {}, "no credentials", "AZURE_STORAGE_ACCOUNT_NAME"),
        (
            "az://models/x",
            {"AZURE_STORAGE_ACCOUNT_NAME": "name", "AZURE_STORAGE_ACCOUNT_KEY": "!!"},
            "cannot be used",
            "AZURE_STORAGE_ACCOUNT_KEY",
        ),
        (
            "gs://models/x",
            {"GOOGLE_APPLICATION_CREDENTIALS": "/not/there.json"},
            "cannot be used (Generic GCS error: Unable to open service account file",
            "GOOGLE_APPLICATION_CREDENTIALS",
        ),
    ],
)
def test_credentials_of_other_clouds_that_are_missing_or_wrong(
    target: str,
    variables: dict[str, str],
    said: str,
    hint: str,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("obstore")
    for name in [name for name in os.environ if name.startswith(("AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run(["publish", str(bundle), target, "--format", "json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert said in error["message"] and hint in error["hint"]


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_is_heard_while_a_store_does_not_answer(bundle: Path) -> None:
    pytest.importorskip("obstore")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_PROFILE": ""}
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "mlcweb", "publish", str(bundle), "s3://b/x", "--endpoint-url", endpoint],
            env={**os.environ, **keys},
            stderr=subprocess.DEVNULL,
        )
        try:
            silent.settimeout(60)
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 130
        finally:
            process.kill()
            process.wait()
