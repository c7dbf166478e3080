"""``mlcweb build`` here: what is done is not done again, and what fails or dies stops nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from mlcweb.bundle import open_bundle
from mlcweb.cli.command import run
from tests.support.building import SETTINGS, alive, caches, processes_of, start_build, tiny_list, wait_for
from tests.support.tiny import TinyLlama, make_llama

pytestmark = pytest.mark.slow
QUICK = ("--no-validate", "--format", "json")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in caches(tmp_path).items():
        monkeypatch.setenv(name, value)


def build(
    capsys: pytest.CaptureFixture[str], path: Path, *flags: str, status: int = 0
) -> list[dict[str, Any]]:
    assert run(["build", str(path), *QUICK, *flags]) == status
    bundles: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["bundles"]
    return bundles


def published(folder: Path) -> dict[str, str]:
    catalog = json.loads((folder / "www" / "catalog.json").read_text())
    return {model["id"]: model["manifest_sha256"] for model in catalog["models"]}


def test_a_second_run_does_nothing_and_a_third_only_what_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_list(tmp_path, 2)
    first = build(capsys, path, "--jobs", "2")
    assert [b["name"] for b in first] == ["tiny-0-q4f32_1", "tiny-1-q4f32_1"]
    assert all(b["ok"] and set(b["seconds"]) == {"compile", "publish"} for b in first)
    open_bundle(tmp_path / "www" / "tiny-1-q4f32_1").verify()
    before = published(tmp_path)
    second = build(capsys, path)
    assert all(b["there"] == ["compile", "publish"] and not b["seconds"] for b in second)

    # what is published need not be here as well
    shutil.rmtree(tmp_path / "dist")
    make_llama(tmp_path / "tiny-1", TinyLlama(seed=9))
    third = build(capsys, path)
    assert [sorted(b["seconds"]) for b in third] == [[], ["compile", "publish"]]
    after = published(tmp_path)
    assert after["tiny-0-q4f32_1"] == before["tiny-0-q4f32_1"]
    assert after["tiny-1-q4f32_1"] != before["tiny-1-q4f32_1"]


def test_a_failure_stops_no_other_and_says_its_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_list(tmp_path, 2)
    (tmp_path / "tiny-0" / "config.json").write_text("{")
    failed, made = build(capsys, path, status=1)
    assert (failed["ok"], failed["failed"], failed["failure"]["code"]) == (False, "compile", "checkpoint")
    assert made["ok"] and list(published(tmp_path)) == ["tiny-1-q4f32_1"]
    make_llama(tmp_path / "tiny-0")
    assert all(b["ok"] for b in build(capsys, path))


def test_a_target_that_refuses_leaves_the_bundle_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_list(tmp_path, 1)
    manifest = tmp_path / "www" / "tiny-0-q4f32_1" / "mlcweb.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    (failed,) = build(capsys, path, status=1)
    assert "not a bundle's manifest" in failed["failure"]["message"]
    assert failed["failed"] == "publish" and failed["path"] == str(tmp_path / "dist" / "tiny-0-q4f32_1")
    manifest.unlink()
    (made,) = build(capsys, path, "--no-keep")
    assert made["there"] == ["compile"] and made["path"] is None
    assert not (tmp_path / "dist" / "tiny-0-q4f32_1").exists()
    open_bundle(tmp_path / "www" / "tiny-0-q4f32_1").verify()


def test_a_target_that_does_not_answer_is_told_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_list(tmp_path, 1)
    (tmp_path / "www").write_text("no folder")
    (failed,) = build(capsys, path, status=1)
    assert failed["failed"] == "publish" and failed["path"] is None


def test_two_models_of_one_name_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_llama(tmp_path / "other" / "tiny-0", TinyLlama(seed=5))
    path = tiny_list(tmp_path, 1, tail=f'[[models]]\nsource = "other/tiny-0"\n{SETTINGS}')
    assert run(["build", str(path)]) == 1
    assert "lists tiny-0-q4f32_1 more than once" in capsys.readouterr().err
    (mine,) = build(capsys, tiny_list(tmp_path, 1))
    # the compiler chooses the quantization that the second names
    first, second = '[[models]]\nsource = "tiny-0"\n', '[[models]]\nsource = "other/tiny-0"\n'
    path.write_text(f"{first}{SETTINGS}{second}{SETTINGS}")
    path.write_text(path.read_text().replace(second, second + 'quantizations = ["q8f16_1"]\n'))
    made, told = build(capsys, path, status=1)
    assert made["ok"] and made["name"] == told["name"] and mine["ok"]
    assert told["failure"]["message"] == f"tiny-0 is also named {made['name']}"


def test_a_process_that_is_killed_is_one_failure(tmp_path: Path) -> None:
    path = tiny_list(tmp_path, 3)
    process = start_build(path, "--no-validate", "--jobs", "1")
    wait_for(lambda: processes_of(process.pid))
    os.kill(processes_of(process.pid)[0], signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    bundles = json.loads(out)["bundles"]
    assert process.returncode == 1, err
    assert [b["ok"] for b in bundles] == [False, True, True]
    assert "killed" in bundles[0]["failure"]["message"]
    again = start_build(path, "--no-validate")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert len(published(tmp_path)) == 3


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_when_build_ends_so_do_its_processes(tmp_path: Path, sent: signal.Signals, status: int) -> None:
    path = tiny_list(tmp_path, 3)
    process = start_build(path, "--no-validate", "--jobs", "2")
    wait_for(lambda: len(processes_of(process.pid)) == 2)
    children = processes_of(process.pid)
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode == status
    wait_for(lambda: not any(alive(pid) for pid in children), 30)
    for bundle in (tmp_path / "dist").glob("[!.]*"):
        open_bundle(bundle).verify()
    if sent != signal.SIGKILL:
        return
    again = start_build(path, "--no-validate")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert len(published(tmp_path)) == 3
    assert not list((tmp_path / "dist").glob(".*"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--only", "nothing"), "has 'nothing' in its name"),
        (("--jobs", "2", "--dask", "tcp://x:1"), "--jobs is for this machine"),
        (("--no-keep", "--no-publish"), "would leave nothing"),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["build", str(tiny_list(tmp_path, 1)), *flags]) in (1, 2)
    assert said in capsys.readouterr().err


def test_a_dry_run_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny_list(tmp_path, 3)
    assert run(["build", str(path), "--dry-run", "--only", "TINY-1", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [b["bundle"] for b in document["bundles"]] == ["tiny-1-q4f32_1"]
    assert not (tmp_path / "dist").exists()
