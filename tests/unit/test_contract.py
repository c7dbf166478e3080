"""The contract: generated files are as their source says, and what reads it needs no compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlcweb.contract.constants import BLOCK, ENTRIES, TIERS, HostSample, Sampling, State
from mlcweb.contract.generate import source
from mlcweb.contract.generate.__main__ import ROOT, files
from mlcweb.kernels.choice import tier


def test_generated_files_are_as_their_source_says() -> None:
    made = files()
    assert len(made) > 12
    assert [name for name, text in made.items() if (ROOT / name).read_text(encoding="utf-8") != text] == []


def test_a_changed_source_changes_what_is_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    before, table = files(), source.constants()
    table["limits"]["chunks"]["is"] -= 1
    monkeypatch.setattr(source, "constants", lambda: table)
    after = files()
    changed = {Path(name).name for name in before if before[name] != after[name]}
    # the constants of both languages, the schema of both, and the table of limits
    assert changed == {"constants.py", "constants.ts", "manifest.schema.json", "bundle-format.md"}


def test_the_contract_imports_no_compiler() -> None:
    said = "import sys, mlcweb.contract.constants, mlcweb.contract.plan, mlcweb.bundle; print('tvm' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout == "False\n"


def test_schemas_take_their_numbers_from_the_table() -> None:
    table = source.constants()
    schema = source.schemas(table)["plan"]
    entry = schema["$defs"]["Entry"]["properties"]
    limits, sizes = table["limits"], table["sizes"]
    assert entry["launches"]["maxItems"] == limits["launches"]["is"]
    assert entry["record_words"]["maximum"] == limits["uniform_words"]["is"] + sizes["grid_words"]["is"]
    assert _references(schema) <= {f"#/$defs/{name}" for name in schema["$defs"]}


def _references(rule: Any) -> set[str]:
    if isinstance(rule, list):
        return set().union(*map(_references, rule))
    if not isinstance(rule, dict):
        return set()
    own = {rule["$ref"]} if isinstance(rule.get("$ref"), str) else set()
    return own.union(*map(_references, rule.values()))


def test_kernels_and_contract_have_the_same_tiers() -> None:
    assert [(t.name, t.features, t.software, t.cpu) for t in tier.TIERS] == [
        (t.name, t.features, t.software, t.cpu) for t in TIERS
    ]
    names = ("F16_SUBGROUPS", "F16", "SUBGROUPS", "BASE", "SOFTWARE", "WASM")
    assert [getattr(tier, name).name for name in names] == [
        "f16-subgroups", "f16", "subgroups", "base", "software", "wasm",
    ]  # fmt: skip


def test_what_kernels_take_for_granted() -> None:
    assert BLOCK & (BLOCK - 1) == 0, "block order shifts by its logarithm"
    assert State.BYTES == 4 * State.WORDS and Sampling.BYTES == 4 * Sampling.WORDS
    assert HostSample.RANDOM < HostSample.WORDS
    assert [entry.name for entry in ENTRIES if entry.required] == ["prefill", "decode", "mask", "sample"]
