"""`validate` with the real engine: a right bundle, a damaged one, and one that expects another answer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from mlcweb.cli.command import run
from mlcweb.reference.chats import make_chats
from mlcweb.reference.prompt import PromptRenderer
from tests.support.browser.mini_bundle import Mini
from tests.support.engine import needs_engine

pytestmark = [
    pytest.mark.usefixtures("chromium"),
    needs_engine,
]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Mini().write(tmp_path / "mini")


def rewrite_validation(bundle: Path, **changes: object) -> None:
    """Another validation.json, and a manifest that agrees with it."""
    manifest = json.loads((bundle / "mlcweb.json").read_text())
    old = manifest["validation"]
    content = json.dumps({**json.loads((bundle / old).read_text()), **changes}).encode()
    digest = hashlib.sha256(content).hexdigest()
    (bundle / old).unlink()
    del manifest["files"][old]
    name = f"validation.{digest[:8]}.json"
    (bundle / name).write_bytes(content)
    manifest["files"][name] = {"bytes": len(content), "sha256": digest}
    (bundle / "mlcweb.json").write_text(json.dumps({**manifest, "validation": name}))


def test_a_right_bundle_passes(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", str(bundle), "--tier", "base", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["passed"] is True
    (tier,) = document["bundles"][0]["tiers"]
    assert tier["tier"] == "base"
    assert tier["tokens"] == tier["expected"]
    assert 0 <= tier["largest_difference"] <= tier["tolerance"]


def test_chats_are_rendered_here_too(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {
        f"{kind}.json": next(bundle.glob(f"{kind}.*.json")).read_bytes()
        for kind in ("tokenizer", "tokenizer_config")
    }
    chats = make_chats(PromptRenderer(files), "validate")
    rewrite_validation(bundle, chats=chats)
    assert run(["validate", str(bundle), "--tier", "base", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["bundles"][0]["tiers"][0]["chats"] == [None] * len(chats)

    chats[1]["text"] = chats[1]["text"].replace("True.", "true.")
    rewrite_validation(bundle, chats=chats)
    assert run(["validate", str(bundle), "--tier", "base"]) == 1
    said = capsys.readouterr()
    assert f"{len(chats) - 1} of {len(chats)}" in said.out and "FAIL" in said.out
    assert f"chat 2 of {len(chats)}: at character" in said.err and "True." in said.err


def test_a_flipped_bit_is_found_before_the_browser(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = next(bundle.glob("weights-003.*.bin"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert run(["validate", str(bundle)]) == 1
    said = capsys.readouterr()
    assert weights.name in said.err
    assert "sha256" in said.err
    assert "Chromium" not in said.err


def test_another_answer_fails(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((bundle / "mlcweb.json").read_text())
    validation = json.loads((bundle / manifest["validation"]).read_text())
    greedy, steps = validation["greedy"], validation["steps"]
    wrong, last = (greedy[-1] + 1) % 200, steps[len(greedy) - 1]
    last["top"] = [[wrong, last["top"][0][1]]]
    rewrite_validation(bundle, greedy=[*greedy[:-1], wrong], steps=steps)
    assert run(["validate", str(bundle), "--format", "json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["passed"] is False
    assert f"{len(greedy) - 1} of {len(greedy)} tokens agree" in said.err


def test_logits_further_off_than_admitted_fail(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((bundle / "mlcweb.json").read_text())
    steps = json.loads((bundle / manifest["validation"]).read_text())["steps"]
    steps[0]["top"] = [[token, value + 0.5 * steps[0]["range"]] for token, value in steps[0]["top"]]
    rewrite_validation(bundle, steps=steps)
    assert run(["validate", str(bundle)]) == 1
    said = capsys.readouterr()
    assert "FAIL" in said.out
    assert "differs by 5.00e-01 of its range" in said.err
    assert "off from step 0, the prompt's, which prefill makes" in said.err


def test_the_first_wrong_step_is_named(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((bundle / "mlcweb.json").read_text())
    steps = json.loads((bundle / manifest["validation"]).read_text())["steps"]
    for step in steps[2:]:
        step["top"] = [[token, value + 0.5 * step["range"]] for token, value in step["top"]]
    rewrite_validation(bundle, steps=steps)
    assert run(["validate", str(bundle), "--tier", "base", "--format", "json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["bundles"][0]["tiers"][0]["wrong_step"] == 2
    assert "right after the prompt and off from step 2, which decode makes" in said.err


def test_a_tier_the_bundle_lacks(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", str(bundle), "--tier", "f16-subgroups"]) == 1
    assert "no tier 'f16-subgroups'" in capsys.readouterr().err


def test_a_tier_that_fails_leaves_the_next_a_page(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((bundle / "mlcweb.json").read_text())
    first = manifest["tiers"][0]
    content = b"//// kernel store_chunk\nthis is no WGSL\n"
    digest = hashlib.sha256(content).hexdigest()
    name = f"kernels.f16.{digest[:8]}.wgsl"
    (bundle / name).write_bytes(content)
    manifest["files"][name] = {"bytes": len(content), "sha256": digest}
    first.update(features=[], kernels=name)
    (bundle / "mlcweb.json").write_text(json.dumps(manifest))
    assert run(["validate", str(bundle), "--format", "json"]) == 1
    said = capsys.readouterr()
    (report,) = json.loads(said.out)["bundles"]
    results = {check["name"]: check["result"] for check in report["checks"]}
    assert results == {"files": "pass", "tier f16": "fail", "tier base": "pass"}
    assert [tier["tier"] for tier in report["tiers"]] == ["base"]
    assert report["checks"][1]["error"]["message"] in said.err


def test_activations_that_no_tier_has(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", str(bundle), "--activations", "int8", "--format", "json"]) == 1
    said = capsys.readouterr()
    (report,) = json.loads(said.out)["bundles"]
    results = {check["name"]: check["result"] for check in report["checks"]}
    assert results == {"files": "pass", "tier f16": "skip", "tier base": "skip", "tiers": "fail"}
    assert "no tier has a prefill of int8" in said.err
    assert run(["validate", str(bundle), "--activations", "int8", "--tier", "base"]) == 1
    assert "has no int8 prefill" in capsys.readouterr().err
