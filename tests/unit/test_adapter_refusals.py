"""An adapter that is no plain LoRA, is damaged, or fits no tensor is refused by a message that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcweb.errors import CheckpointError, MlcwebError, SourceError, UnsupportedError
from mlcweb.progress import SilentProgress
from mlcweb.sources import merge_adapter, open_adapter, open_checkpoint
from tests.support.adapters import lora, make_adapter
from tests.support.tiny import TinyLlama, make_llama

MODEL = TinyLlama(layers=1)
Q = "model.layers.0.self_attn.q_proj"
GOOD = lora(Q, 64, MODEL.hidden)


def refusal(kind: type[MlcwebError], spec: Path | str) -> MlcwebError:
    with pytest.raises(kind) as caught:
        open_adapter(str(spec), progress=SilentProgress())
    assert type(caught.value) is kind
    return caught.value


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "IA3"}, "the adapter is IA3; mlcweb merges LoRA"),
        ({"peft_type": "ADALORA"}, "the adapter is ADALORA"),
        ({"peft_type": None}, "of no named type"),
        ({"use_dora": True}, "use_dora asks for DoRA"),
        ({"lora_bias": True}, "lora_bias"),
        ({"trainable_token_indices": [3]}, "single trained tokens"),
        ({"target_parameters": ["experts.down_proj"]}, "target_parameters"),
        ({"layer_replication": [[0, 1]]}, "replicated layers"),
        ({"init_lora_weights": "pissa_niter_16"}, "changed the base"),
        ({"init_lora_weights": "olora"}, "changed the base"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_other_kinds(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    error = refusal(UnsupportedError, make_adapter(tmp_path / "a", GOOD, **config))
    assert said in error.message and "adapter_config.json" in error.message
    assert "PEFT" in error.hint


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"r": 0}, "r is 0"),
        ({"r": True}, "r is True"),
        ({"r": "4"}, "r is '4'"),
        ({"lora_alpha": None}, "lora_alpha is None"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"rank_pattern": {"q_proj": 2.5}}, "rank_pattern of q_proj is 2.5"),
        ({"rank_pattern": ["q_proj"]}, "rank_pattern is ['q_proj']"),
        ({"alpha_pattern": {"(": 2}}, "'(' is no regular expression"),
        ({"target_modules": "(q_proj"}, "'(q_proj' is no regular expression"),
        ({"target_modules": [1]}, "target_modules is [1]"),
        ({"modules_to_save": "lm_head"}, "modules_to_save is 'lm_head'"),
        ({"r": 8}, "not of rank 8"),
        ({"target_modules": ["v_proj"]}, f"changes {Q}, which target_modules"),
        ({"target_modules": "q_proj"}, f"changes {Q}, which target_modules"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_odd_configs(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in refusal(CheckpointError, make_adapter(tmp_path / "a", GOOD, **config)).message


def test_what_is_not_there(tmp_path: Path) -> None:
    error = refusal(SourceError, tmp_path / "nowhere")
    assert "no such folder" in error.message and "org/name" in error.hint
    folder = make_adapter(tmp_path / "a", GOOD)
    assert "is a file" in refusal(SourceError, folder / "adapter_model.safetensors").message
    model = make_llama(tmp_path / "model", MODEL)
    error = refusal(SourceError, model)
    assert "has no adapter_config.json" in error.message and "SOURCE" in error.hint
    (folder / "adapter_model.safetensors").unlink()
    assert "has no adapter_model.safetensors" in refusal(SourceError, folder).message
    (folder / "adapter_model.bin").write_bytes(b"pickle")
    error = refusal(UnsupportedError, folder)
    assert "pickled" in error.message and "save_pretrained" in error.hint


def test_an_adapter_given_as_the_model(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a", GOOD)
    with pytest.raises(SourceError) as caught:
        open_checkpoint(str(folder))
    assert "is an adapter" in caught.value.message and "--adapter" in caught.value.hint


def test_damaged_files(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a", GOOD)
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    whole = weights.read_bytes()
    for size in (0, 4, 100, len(whole) - 1):
        weights.write_bytes(whole[:size])
        assert "adapter_model.safetensors" in refusal(CheckpointError, folder).message
    weights.write_bytes(whole)
    for text in ("", "[]", "{"):
        config.write_text(text)
        assert "adapter_config.json" in refusal(CheckpointError, folder).message


def test_a_file_cut_short_after_it_was_opened(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a", GOOD)
    adapter = open_adapter(str(folder), progress=SilentProgress())
    base = open_checkpoint(str(make_llama(tmp_path / "model", MODEL)))
    actual = merge_adapter(base, adapter, tie=None, transposed=())
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: ends at"):
        actual.tensors[f"{Q}.weight"].read()


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({f"{Q}.lora_A.weight": GOOD[f"{Q}.lora_A.weight"]}, f"has no lora_B of {Q}"),
        ({f"{Q}.lora_B.weight": GOOD[f"{Q}.lora_B.weight"]}, f"has no lora_A of {Q}"),
        ({**GOOD, **lora(Q, 64, 64, name="other")}, f"two adapters of {Q}"),
        ({**GOOD, f"{Q}.lora_B.bias": np.zeros(64, np.float32)}, "is no tensor of a LoRA"),
        ({**GOOD, f"{Q}.lora_C.weight": np.zeros(64, np.float32)}, "is no tensor of a LoRA"),
        ({**GOOD, "x": np.zeros(4, np.float32)}, "is no tensor of a LoRA"),
        ({f"{Q}.lora_A.weight": np.zeros(4, np.float32), f"{Q}.lora_B.weight": np.zeros(4, np.float32)}, "rank 4"),
        ({**GOOD, "a.weight": np.ones(1, np.float32), "a.base_layer.weight": np.ones(1, np.float32)}, "two tensors"),
        ({}, "holds no tensors"),
    ],
)  # fmt: skip
def test_tensors_that_are_no_loras(tensors: dict[str, np.ndarray], said: str, tmp_path: Path) -> None:
    assert said in refusal(CheckpointError, make_adapter(tmp_path / "a", tensors)).message


def test_dora_and_integers_by_their_tensors(tmp_path: Path) -> None:
    magnitude = {**GOOD, f"{Q}.lora_magnitude_vector": np.ones(64, np.float32)}
    error = refusal(UnsupportedError, make_adapter(tmp_path / "a", magnitude))
    assert "DoRA" in error.message and "merge_and_unload" in error.hint
    integers = {name: array.astype(np.int8) for name, array in GOOD.items()}
    assert "stored as I8" in refusal(UnsupportedError, make_adapter(tmp_path / "b", integers)).message


def test_names_without_pefts_prefix(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    folder = make_adapter(tmp_path / "a", GOOD)
    save_file(GOOD, folder / "adapter_model.safetensors")
    assert "does not begin with base_model.model." in refusal(CheckpointError, folder).message


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (lora("model.layers.1.self_attn.q_proj", 64, 64), "layers.1.self_attn.q_proj.weight, which the checkpoint"),
        (lora("h.0.c_attn", 64, 64), "changes h.0.c_attn.weight, which the checkpoint does not have"),
        (lora(Q, 128, 64), f"changes {Q}.weight as [128, 64]; the checkpoint has [64, 64]"),
        (lora(Q, 64, 32), f"changes {Q}.weight as [64, 32]"),
        (lora("model.norm", 64, 64), "changes model.norm.weight as [64, 64]; the checkpoint has [64]"),
        ({f"{Q}.bias": np.zeros(64, np.float32)}, f"changes {Q}.bias, which the checkpoint does not have"),
        ({"model.embed_tokens.weight": np.zeros((400, 64), np.float32)}, "as [400, 64]; the checkpoint has [320, 64]"),
    ],
)  # fmt: skip
def test_another_models_adapter(tensors: dict[str, np.ndarray], said: str, tmp_path: Path) -> None:
    adapter = open_adapter(str(make_adapter(tmp_path / "sql", tensors)), progress=SilentProgress())
    base = open_checkpoint(str(make_llama(tmp_path / "model", MODEL)))
    with pytest.raises(CheckpointError) as caught:
        merge_adapter(base, adapter, tie=None, transposed=())
    assert "the adapter sql" in caught.value.message and said in caught.value.message
    assert "org/tiny" in caught.value.hint


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("factor", ["A", "B"])
def test_values_that_are_not_finite(value: float, factor: str, tmp_path: Path) -> None:
    tensors = {name: array.copy() for name, array in GOOD.items()}
    tensors[f"{Q}.lora_{factor}.weight"][1, 2] = value
    adapter = open_adapter(str(make_adapter(tmp_path / "sql", tensors)), progress=SilentProgress())
    base = open_checkpoint(str(make_llama(tmp_path / "model", MODEL)))
    actual = merge_adapter(base, adapter, tie=None, transposed=())
    with pytest.raises(CheckpointError, match=rf"the adapter sql: .*lora_{factor}.* infinite or NaN"):
        actual.tensors[f"{Q}.weight"].read(slice(0, 4))


def test_no_path_of_the_trainers_machine_is_recorded(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "sql", GOOD, base_model_name_or_path="/home/someone/models/x")
    adapter = open_adapter(str(folder), progress=SilentProgress())
    assert "/" not in json.dumps(adapter.source)
