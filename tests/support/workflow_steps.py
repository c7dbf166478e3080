"""Steps of the repository's GitHub action, read from action.yml and run as a runner runs them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
_INPUT = re.compile(r"\$\{\{ inputs\.([a-z-]+) \}\}")


def load(path: Path) -> dict[Any, Any]:
    """A YAML file; the key ``on`` is True there."""
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def action() -> dict[Any, Any]:
    return load(ROOT / "action.yml")


def run_step(
    name: str, inputs: Mapping[str, str], environment: Mapping[str, str], cwd: Path, source: Path
) -> subprocess.CompletedProcess[str]:
    """The action's step of that name, with these inputs beside the defaults; ``source`` is the action's folder.

    A runner's bash is ``bash --noprofile --norc -eo pipefail``, with the script in a file.
    """
    document = action()
    step = next(step for step in document["runs"]["steps"] if step.get("name") == name)
    known = document["inputs"]
    assert set(inputs) <= set(known)
    values = {key: inputs.get(key, str(known[key].get("default", ""))) for key in known}
    env = {}
    for key, value in step.get("env", {}).items():
        filled = _INPUT.sub(lambda match: values[match[1]], value)
        env[key] = filled.replace("${{ github.action_path }}", str(source))
        assert "${{" not in env[key]
    script = cwd / "step.sh"
    script.write_text(step["run"])
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
        cwd=cwd,
        env={**os.environ, **environment, **env},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )
