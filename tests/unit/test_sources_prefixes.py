"""Checkpoints that were saved with what training had put around the model, and those saved twice over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlcweb.errors import CheckpointError, UnsupportedError
from mlcweb.progress import SilentProgress
from mlcweb.sources import open_checkpoint
from tests.support.tiny import TinyLlama, make_llama


class Notes(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def rename(folder: Path, change: dict[str, str] | str) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    if isinstance(change, str):
        weights = {change + name: weight for name, weight in weights.items()}
    else:
        ((old, new),) = change.items()
        weights = {name.replace(old, new): weight for name, weight in weights.items()}
    save_file(weights, path)


@pytest.mark.parametrize(
    "change",
    [
        "_orig_mod.",
        "module.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "module.module.",
        "base_model.model.",
        "_fsdp_wrapped_module.",
        {"layers.0.": "layers.0._orig_mod."},
        {"layers.": "_checkpoint_wrapped_module.layers."},
    ],
)
def test_wrappers_are_not_part_of_a_name(change: dict[str, str] | str, tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    plain = open_checkpoint(str(folder))
    name = "model.layers.0.mlp.up_proj.weight"
    values = plain.tensors[name].read()
    rename(folder, change)
    actual = open_checkpoint(str(folder))
    assert set(actual.tensors) == set(plain.tensors)
    assert all(name == tensor.name for name, tensor in actual.tensors.items())
    np.testing.assert_array_equal(actual.tensors[name].read(), values)
    assert actual.fingerprint == plain.fingerprint


def test_wrappers_in_shards(tmp_path: Path) -> None:
    folder = make_llama(tmp_path, TinyLlama(shards=2))
    names = set(open_checkpoint(str(folder)).tensors)
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    for shard in set(weight_map.values()):
        weights = load_file(folder / shard)
        save_file({f"module.{name}": weight for name, weight in weights.items()}, folder / shard)
    index.write_text(json.dumps({"weight_map": {f"module.{name}": s for name, s in weight_map.items()}}))
    assert set(open_checkpoint(str(folder)).tensors) == names


def test_one_name_twice(tmp_path: Path) -> None:
    path = make_llama(tmp_path) / "model.safetensors"
    weights = load_file(path)
    save_file({**weights, "model._orig_mod.norm.weight": weights["model.norm.weight"]}, path)
    with pytest.raises(CheckpointError, match=r"holds model\.norm\.weight twice"):
        open_checkpoint(str(tmp_path))


@pytest.mark.parametrize("part", [".base_layer.weight", ".lora_A.default.weight"])
def test_an_adapter_that_is_not_merged_says_how_to_merge_it(part: str, tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    rename(folder, "base_model.model.")
    rename(folder, {"q_proj.weight": f"q_proj{part}"})
    with pytest.raises(UnsupportedError, match="an adapter that is not merged") as caught:
        open_checkpoint(str(folder))
    assert "merge_and_unload()" in caught.value.hint and "--adapter" in caught.value.hint


def test_the_one_file_goes_before_an_old_index(tmp_path: Path) -> None:
    """As in transformers: shards are left from an earlier save."""
    folder = make_llama(tmp_path, TinyLlama(shards=2))
    new = TinyLlama(seed=1)
    save_file(new.weights(), folder / "model.safetensors")
    notes = Notes()
    norm = open_checkpoint(str(folder), progress=notes).tensors["model.norm.weight"]
    np.testing.assert_array_equal(norm.read(), new.weights()["model.norm.weight"])
    assert len(notes.said) == 1 and "the first is compiled" in notes.said[0]
    (folder / "model.safetensors.index.json").unlink()
    notes.said.clear()
    open_checkpoint(str(folder), progress=notes)
    assert notes.said == []
