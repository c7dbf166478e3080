"""Publishing to the Hugging Face hub, of which a stand-in answers: one commit, and nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bundle_sample import make_bundle
from tests.support.hub_server import TOKEN, HubServer, hub_server
from tests.support.published import catalog, sha256_of, whole_model

pytestmark = pytest.mark.slow  # each publishes in a process of its own: the client reads its address once

NAME = "Sample-q4f32_1"
REPO = "org/models"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with hub_server(REPO) as server:
        yield server


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "old").path


def send(hub: HubServer, *arguments: str, token: str = TOKEN) -> tuple[int, dict[str, object]]:
    run = subprocess.run(
        [sys.executable, "-m", "mlcweb", "publish", *arguments, "--format", "json"],
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)


def test_one_commit_has_the_files_the_manifest_and_the_catalog(
    hub: HubServer, old: Path, tmp_path: Path
) -> None:
    assert send(hub, str(old), f"hf://{REPO}/web", "--verify", "full")[0] == 0
    assert len(hub.commits) == 2

    def read(key: str) -> bytes | None:
        return hub.files.get(f"web/{key}")

    assert whole_model(read, NAME) == sha256_of(old)
    assert catalog(read)[NAME]["manifest_sha256"] == sha256_of(old)
    uploads = hub.uploads
    status, document = send(hub, str(old), f"hf://{REPO}/web")
    assert status == 0 and document["bundles"][0]["sent"]["files"] == 0  # type: ignore[index]
    assert len(hub.commits) == 2 and hub.uploads == uploads

    new = make_bundle(tmp_path / "new", seed=8).path
    others = json.dumps(
        {**json.loads(hub.files["web/catalog.json"])["models"][0], "id": "Another", "url": "Another/"}
    )

    def another_publisher() -> None:
        hub.before_commit = None
        there = json.loads(hub.files["web/catalog.json"])
        there["models"].append(json.loads(others))
        hub.commit({"web/catalog.json": json.dumps(there).encode()})

    hub.before_commit = another_publisher
    assert send(hub, str(new), f"hf://{REPO}/web", "--prune", "--grace", "0")[0] == 0
    assert whole_model(read, NAME) == sha256_of(new)
    assert sorted(catalog(read)) == ["Another", NAME]
    assert {key.removeprefix(f"web/{NAME}/") for key in hub.files if NAME in key} == {
        path.name for path in new.iterdir()
    }


def test_what_is_wrong_with_the_hub_is_said(hub: HubServer, old: Path) -> None:
    status, document = send(hub, str(old), "hf://org/not-there")
    assert status == 1 and "no model repository org/not-there" in document["error"]["message"]  # type: ignore[index]
    status, document = send(hub, str(old), f"hf://{REPO}", token="hf_wrong")
    assert status == 1 and "refuses to write" in document["error"]["message"]  # type: ignore[index]
    assert "HF_TOKEN" in document["error"]["hint"]  # type: ignore[index]
    assert hub.files == {}
    chunk = next(old.glob("weights-*"))
    chunk.write_bytes(bytes(chunk.stat().st_size))
    status, document = send(hub, str(old), f"hf://{REPO}")
    assert status == 1 and document["error"]["code"] == "bundle"  # type: ignore[index]
    assert hub.files == {}
