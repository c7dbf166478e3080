"""``mlcweb list``: grouped, filtered, with sizes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mlcweb.cli.command import run
from mlcweb.numbers import count


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["list", *arguments]) == 0
    return capsys.readouterr().out


def test_families_are_together_and_the_smallest_first(capsys: pytest.CaptureFixture[str]) -> None:
    recipes = json.loads(listed(capsys, "--format", "json"))["recipes"]
    keys = [(r["family"], r["parameters"]) for r in recipes]
    assert keys == sorted(keys) and len(keys) > 60
    text = listed(capsys)
    assert len(re.findall(r"^llama ", text, flags=re.M)) == 1
    assert len(text.splitlines()) == len(keys) + 1


def test_words_narrow_it_down(capsys: pytest.CaptureFixture[str]) -> None:
    actual = json.loads(listed(capsys, "LLAMA-3", "3b", "--format", "json"))["recipes"]
    assert [r["name"] for r in actual] == ["Hermes-3-Llama-3.2-3B", "Llama-3.2-3B"]
    assert json.loads(listed(capsys, "Qwen/", "--format", "json"))["recipes"]


def test_words_that_nothing_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "llama", "zzz"]) != 0
    assert "no recipe has 'llama' and 'zzz'" in capsys.readouterr().err


def test_sizes_are_those_of_the_quantizations_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # without bundles in dist/
    (smol,) = json.loads(listed(capsys, "smollm2-135m", "--format", "json"))["recipes"]
    assert smol["parameters"] == 134_515_008
    assert list(smol["sizes"]) == ["q4f16_1", "q4f16_e8"]
    for taken in smol["sizes"].values():
        assert taken["gpu"] == taken["weights"] + taken["kv_cache"]
    (smol,) = json.loads(listed(capsys, "smollm2-135m", "--quant", "q0f16", "--format", "json"))["recipes"]
    tables = (4096 // 64 + 64) * 64 * 4  # RoPE's
    assert smol["sizes"] == {
        "q0f16": {
            "weights": 2 * 134_515_008 + tables,
            "kv_cache": 30 * 2 * 3 * 64 * 4096 * 2,
            "gpu": 2 * 134_515_008 + tables + 30 * 2 * 3 * 64 * 4096 * 2,
        }
    }
    header = listed(capsys, "smollm2", "--quant", "q0f16").splitlines()[0]
    columns = ["FAMILY", "NAME", "PARAMETERS", "Q0F16", "GPU", "CONTEXT", "HUGGING FACE ID", "LICENCE"]
    assert re.split(r"  +", header) == columns


def test_an_unknown_quantization_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--quant", "q4f16"]) != 0
    assert "q4f16_1" in capsys.readouterr().err


def test_bundles_that_are_there_are_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "IN DIST/" not in listed(capsys, "smollm2")
    folder = tmp_path / "dist" / "SmolLM2-135M-Instruct-q4f32_1"
    folder.mkdir(parents=True)
    (folder / "mlcweb.json").write_text("{}")
    rows = listed(capsys, "smollm2").splitlines()
    assert rows[0].endswith("IN DIST/")
    assert [row.endswith(folder.name) for row in rows[1:]].count(True) == 1


@pytest.mark.parametrize(
    ("number", "shown"),
    [(134_515_008, "135 M"), (999_885_952, "1.00 B"), (1_235_814_400, "1.24 B"), (70_553_706_496, "70.6 B")],
)
def test_parameter_counts(number: int, shown: str) -> None:
    assert count(number) == shown
