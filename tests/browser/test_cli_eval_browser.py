"""``mlcweb eval --browser``: the engine's kernels are as far from the source as the host says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlcweb.cli.command import run
from mlcweb.compile import CompileRequest, compile_bundle
from tests.support.tiny import TinyLlama, make_llama


def test_both_tiers_agree_with_the_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two windows, so that the second begins with an empty context; equal within float32's error."""
    make_llama(tmp_path / "source", TinyLlama())
    bundle = tmp_path / "bundle"
    request = CompileRequest(
        str(tmp_path / "source"),
        quantization="q4f32_1",
        tiers=("base", "subgroups"),
        out_dir=bundle,
        context_length=48,
        evaluate=False,
    )
    compile_bundle(request)
    arguments = [str(bundle), "--against", str(tmp_path / "source"), "--tokens", "80", "--format", "json"]
    assert run(["eval", *arguments]) == 0
    (host,) = json.loads(capsys.readouterr().out)["bundles"]
    assert run(["eval", *arguments, "--browser", "--tier", "base", "--tier", "subgroups"]) == 0
    actual = json.loads(capsys.readouterr().out)
    assert actual["windows"] == 2 and actual["against"]["runs_on"] == "host"
    assert [row["runs_on"].split()[0] for row in actual["bundles"]] == ["base", "subgroups"]
    assert host["kl_mean"] > 1e-4
    for row in actual["bundles"]:
        assert row["tokens"] == host["tokens"] == 78
        assert row["perplexity"] == pytest.approx(host["perplexity"], rel=1e-4)
        assert row["kl_mean"] == pytest.approx(host["kl_mean"], rel=1e-2)
        assert abs(row["same_tokens"] - host["same_tokens"]) <= 1
