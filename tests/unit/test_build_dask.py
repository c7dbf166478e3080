"""``mlcweb build --dask``: real schedulers and workers on loopback, and what happens when they are lost."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.synthetic.dask_cluster import DaskCluster, dask_cluster
from mlcweb.bundle import open_bundle
from mlcweb.cli.command import run
from tests.support.building import ROOT, alive, caches, processes_of, start_build, tiny_list, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path, PYTHONPATH=str(ROOT), **caches(tmp_path)) as started:
        yield started


def test_a_lost_workers_bundle_is_made_by_another(tmp_path: Path, cluster: DaskCluster) -> None:
    first, second = cluster.add_worker(), cluster.add_worker()
    path = tiny_list(tmp_path, 4)
    process = start_build(path, "--dask", cluster.address, "--no-validate")
    wait_for(lambda: processes_of(first.pid) and processes_of(second.pid))
    (child,) = processes_of(first.pid)
    os.kill(first.pid, signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    bundles = json.loads(out)["bundles"]
    assert all(b["ok"] for b in bundles) and len({b["worker"] for b in bundles}) <= 2
    wait_for(lambda: not alive(child), 30)
    catalog = json.loads((tmp_path / "www" / "catalog.json").read_text())
    assert len(catalog["models"]) == 4
    for model in catalog["models"]:
        open_bundle(tmp_path / "www" / model["id"]).verify()


def test_who_asks_may_go_and_come_back(tmp_path: Path, cluster: DaskCluster) -> None:
    worker = cluster.add_worker()
    path = tiny_list(tmp_path, 2)
    process = start_build(path, "--dask", cluster.address, "--no-validate")
    wait_for(lambda: processes_of(worker.pid))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    wait_for(lambda: not processes_of(worker.pid), 60)
    again = start_build(path, "--dask", cluster.address, "--no-validate")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert json.loads(out)["bundles"][0]["there"] == ["compile", "publish"]  # it was finished there


def test_a_worker_of_another_version_makes_nothing(
    tmp_path: Path, cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.add_worker()
    path = tiny_list(tmp_path, 1)
    monkeypatch.setattr("mlcweb.build.cluster.compiler_digest", lambda: "another")
    assert run(["build", str(path), "--dask", cluster.address, "--no-validate", "--format", "json"]) == 1
    (failed,) = json.loads(capsys.readouterr().out)["bundles"]
    assert "another version of mlcweb" in failed["failure"]["message"]


def test_no_scheduler_and_no_workers(
    tmp_path: Path, cluster: DaskCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tiny_list(tmp_path, 1))
    assert run(["build", path, "--dask", cluster.address]) == 1
    assert "has no workers" in capsys.readouterr().err
    monkeypatch.setattr("mlcweb.build.cluster._TO_CONNECT", "1s")
    assert run(["build", path, "--dask", "tcp://127.0.0.1:9"]) == 1
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert run(["build", path, "--dask", cluster.address]) == 1
    assert "pip install 'mlcweb[dask]'" in capsys.readouterr().err
