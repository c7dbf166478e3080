"""``mlcweb inspect --plan`` and ``--kernel``: a bundle's plan and kernels, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlcweb.bundle import open_bundle
from mlcweb.bundle.readable_plan import kernel_bindings, plan_text, readable_plan
from mlcweb.cli.command import run
from mlcweb.compile import CompileRequest, compile_bundle
from tests.support.tiny import TinyLlama, make_llama

LAYERS = 2


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspected")
    model = make_llama(folder / "small", TinyLlama(layers=LAYERS))
    tiers = ("base", "software")
    request = CompileRequest(
        str(model), "q4f32_1", folder / "out", tiers=tiers, evaluate=False, scales="mlc", prefill_chunk=64
    )
    compile_bundle(request)
    return folder / "out"


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert run(["inspect", *args]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def document(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    return json.loads(printed(capsys, *args, "--format", "json"))


def test_the_plan_has_each_buffer_and_launch_by_name(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = open_bundle(bundle).plan("base")
    (plan,) = document(capsys, str(bundle), "--plan", "--tier", "base")["plans"]
    assert [b["name"] for b in plan["buffers"]] == [b["name"] for b in stored["buffers"]]
    buffers = {b["name"]: b for b in plan["buffers"]}
    assert (buffers["tokens"]["dtype"], buffers["tokens"]["shape"]) == ("int32", [64])
    assert (buffers["logits"]["dtype"], buffers["logits"]["shape"]) == ("float32", [320])
    head = buffers["model.embed_tokens.q_weight"]
    assert (head["kind"], head["dtype"], head["shape"], head["bytes"]) == (
        "weight",
        "uint32",
        [320, 8],
        320 * 32,
    )
    for name, entry in stored["entries"].items():
        launches = plan["entries"][name]["launches"]
        assert [x["kernel"] for x in launches] == [
            stored["kernels"][x["kernel"]]["name"] for x in entry["launches"]
        ]
        for shown, launch in zip(launches, entry["launches"], strict=True):
            bound = {b["buffer"] for b in [*shown["reads"], *shown["writes"]]}
            assert bound == {stored["buffers"][at]["name"] for at in launch["args"]}
            assert shown["writes"], "every kernel writes something"
    assert plan["entries"]["decode"]["launches"][-1]["writes"] == [{"binding": "y", "buffer": "logits"}]


def test_the_plan_reads_in_order(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, str(bundle), "--plan")
    assert [line for line in text.splitlines() if line.startswith("tier ")] == [
        f"tier base: {len(open_bundle(bundle).plan('base')['buffers'])} buffers",
        f"tier software: {len(open_bundle(bundle).plan('software')['buffers'])} buffers",
    ]
    decode = text.split("\ndecode: ")[1].split("\n\n")[0].splitlines()
    count = len(open_bundle(bundle).plan("base")["entries"]["decode"]["launches"])
    assert decode[0] == f"{count} launches"
    assert [line.split()[0] for line in decode[2:]] == [str(i) for i in range(count)]
    assert "GRID" not in decode[1], "a bundle has its grids as machine code"


def test_what_a_plan_says_of_op_layer_and_grid_is_shown(bundle: Path) -> None:
    kernels = {"decode_embed": {"grid": ["1", "n // 4"], "workgroup": 64}}
    plan = readable_plan(open_bundle(bundle), "base", kernels)
    first = plan["entries"]["decode"]["launches"][0]
    assert first["grid"] == ["1", "n // 4"]
    plan["entries"]["decode"]["launches"][0] = {**first, "op": "embed", "layer": 0}
    lines = list(plan_text(plan))
    at = lines.index(f"decode: {len(plan['entries']['decode']['launches'])} launches")
    assert lines[at + 1].split()[:6] == ["#", "KERNEL", "OP", "LAYER", "GRID", "WORKGROUP"]
    assert lines[at + 2].split()[:8] == ["0", "decode_embed", "embed", "0", "1", "x", "n", "//"]


def test_a_kernel_is_shown_with_its_launches(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = document(capsys, str(bundle), "--kernel", "decode_qkv")
    assert [tier["tier"] for tier in facts["tiers"]] == ["base", "software"]
    opened = open_bundle(bundle)
    for tier in facts["tiers"]:
        assert f"//// kernel decode_qkv\n{tier['wgsl']}" == opened.kernels(tier["tier"])["decode_qkv"]
        assert list(tier["launches"]) == ["decode"] and len(tier["launches"]["decode"]) == LAYERS
        stored = opened.plan(tier["tier"])["entries"]["decode"]["launches"]
        kernels = opened.plan(tier["tier"])["kernels"]
        for launch in tier["launches"]["decode"]:
            assert kernels[stored[launch["number"]]["kernel"]]["name"] == "decode_qkv"
        assert [b["binding"] for b in tier["bindings"]] == list(range(len(tier["bindings"])))
        assert tier["bindings"][-1]["access"] == "uniform" and all(b["name"] for b in tier["bindings"])
    text = printed(capsys, str(bundle), "--kernel", "decode_qkv", "--tier", "base")
    assert facts["tiers"][0]["wgsl"].rstrip() in text and "decode: 2 of its launches" in text
    assert "software" not in text


def test_wgsl_that_tiers_share_is_printed_once(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, str(bundle), "--kernel", "sample_scan")
    kernels = {tier: open_bundle(bundle).kernels(tier)["sample_scan"] for tier in ("base", "software")}
    same = len(set(kernels.values())) == 1
    assert text.count("fn sample_scan(") == (1 if same else 2)
    assert ("WGSL as on tier base" in text) == same


def test_an_unknown_kernel_names_near_ones(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(bundle), "--kernel", "decode_qk"]) == 1
    err = capsys.readouterr().err
    assert "error: the bundle has no kernel 'decode_qk'" in err and "decode_qkv" in err
    assert run(["inspect", str(bundle), "--kernel", "qkv"]) == 1
    assert "decode_qkv" in capsys.readouterr().err
    assert run(["inspect", str(bundle), "--kernel", "prefill_int8_qkv", "--tier", "software"]) == 1
    assert "tier software has no kernel" in capsys.readouterr().err
    assert run(["inspect", str(bundle), "--kernel", "", "--format", "json"]) == 1
    out = json.loads(capsys.readouterr().out)
    assert out["error"]["code"] == "bundle" and "--plan` names them" in out["error"]["hint"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--plan", "--kernel", "decode_qkv"], "not both"),
        (["--plan", "--context", "64"], "--plan does not show"),
        (["--kernel", "decode_qkv", "--context", "64"], "--kernel does not show"),
        (["--tier", "base"], "--tier needs --plan or --kernel"),
        (["--plan", "--tier", "fast"], "fast"),
    ],
)
def test_options_that_do_not_go_together(
    bundle: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert run(["inspect", str(bundle), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_tier_that_the_bundle_has_not(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(bundle), "--plan", "--tier", "f16"]) == 1
    assert "it has base, software" in capsys.readouterr().err


def test_bindings_are_those_of_the_wgsl() -> None:
    wgsl = """@group(0) @binding(1) var<storage, read_write> y_ptr : array<f32>;
@group(0) @binding(0) var<storage, read> x : array<vec4<f32>>;
@group(0) @binding(2) var<uniform> podArgs : PODArgs;
"""
    assert kernel_bindings(wgsl) == [
        {"name": "x", "type": "array<vec4<f32>>"},
        {"name": "y", "type": "array<f32>"},
        {"name": "podArgs", "type": "PODArgs"},
    ]
    assert kernel_bindings("fn nothing() {}") == []
