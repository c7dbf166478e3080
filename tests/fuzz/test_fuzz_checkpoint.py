"""Damaged files of a model folder: opened and decided on as `mlcweb compile` does before any work."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlcweb import recipes
from mlcweb.compile import CompileRequest
from mlcweb.compile.decide import decide
from mlcweb.progress import SilentProgress
from mlcweb.sources import open_checkpoint
from tests.fixtures.models.cases import CASES
from tests.fixtures.models.checkpoint import make_checkpoint
from tests.fuzz.hold import hold
from tests.fuzz.mutate import SEED, damaged, damaged_bytes, to_bytes
from tests.support.tiny import TinyLlama, make_llama


def deciding(folder: Path, *, images: bool = True) -> Callable[[], object]:
    request = CompileRequest(str(folder), quantization="q4f32_1", tiers=("base",), images=images)
    return lambda: decide(request, SilentProgress())


@pytest.fixture(autouse=True)
def recipes_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the recipes' 63 files takes ten times as long as all that is tested here."""
    read = recipes.all_recipes()
    monkeypatch.setattr(recipes, "all_recipes", lambda folder=None: read)


def fuzz_json(folder: Path, name: str, wanted: dict[str, Any] | None = None) -> None:
    """Damage the JSON file ``name`` of the folder; ``wanted`` is its content before, what is there without."""
    path = folder / name
    document = wanted if wanted is not None else json.loads(path.read_bytes())

    def attempt(i: int) -> tuple[Any, Callable[[], object]]:
        chance = random.Random(f"{SEED} {name} {i}")
        data = to_bytes(damaged(document, chance), chance)
        path.write_bytes(data)
        return (name, data[:3000]), deciding(folder)

    hold(attempt)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_llama(tmp_path, TinyLlama(layers=1))


def test_config(folder: Path) -> None:
    fuzz_json(folder, "config.json")


def test_generation_config(folder: Path) -> None:
    fuzz_json(folder, "generation_config.json")


def test_tokenizer(folder: Path) -> None:
    fuzz_json(folder, "tokenizer.json")


def test_tokenizer_config(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_bytes())
    token = {"content": "<t>", "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    more = {"added_tokens_decoder": {"273": token}, "extra_special_tokens": ["<u>"], "mask_token": token}
    fuzz_json(folder, "tokenizer_config.json", {**config, **more})


def test_old_token_files(folder: Path) -> None:
    token = {"content": "<t>", "lstrip": False, "rstrip": False, "normalized": False}
    (folder / "added_tokens.json").write_text(json.dumps({"<t>": 273, "<u>": 274}))
    fuzz_json(
        folder, "special_tokens_map.json", {"bos_token": token, "additional_special_tokens": ["<v>", token]}
    )
    (folder / "special_tokens_map.json").write_text("{}")
    fuzz_json(folder, "added_tokens.json", {"<t>": 273, "<u>": 274})


def test_configs_of_every_family(tmp_path: Path) -> None:
    """Each architecture reads keys of its own."""
    folders = [make_checkpoint(tmp_path / case.name, case) for case in CASES]
    documents = [json.loads((folder / "config.json").read_bytes()) for folder in folders]

    def attempt(i: int) -> tuple[Any, Callable[[], object]]:
        chance = random.Random(f"{SEED} families {i}")
        which = i % len(folders)
        document = damaged(documents[which], chance)
        (folders[which] / "config.json").write_bytes(to_bytes(document, chance))
        return (CASES[which].name, document), deciding(folders[which], images=False)

    hold(attempt)


def test_safetensors_headers(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    (size,) = struct.unpack("<Q", whole[:8])
    header, data = json.loads(whole[8 : 8 + size]), whole[8 + size :]

    def attempt(i: int) -> tuple[Any, Callable[[], object]]:
        chance = random.Random(f"{SEED} safetensors {i}")
        text = to_bytes(damaged(header, chance), chance)
        length = chance.choice((len(text),) * 8 + (len(text) + 1, 0, 1 << 40, (1 << 64) - 1))
        content = struct.pack("<Q", length) + text + data
        if chance.random() < 0.1:
            content = damaged_bytes(whole, chance)
        path.write_bytes(content)
        return text[:3000], deciding(folder)

    hold(attempt)


def test_indexes(tmp_path: Path) -> None:
    folder = make_llama(tmp_path, TinyLlama(layers=1, shards=2))
    fuzz_json(folder, "model.safetensors.index.json")


def test_adapter_configs(folder: Path, tmp_path: Path) -> None:
    from mlcweb.sources import open_adapter
    from tests.support.adapters import lora, make_adapter

    adapter = make_adapter(tmp_path / "lora", lora("model.layers.0.self_attn.q_proj", 64, 64))
    document = json.loads((adapter / "adapter_config.json").read_bytes())

    def attempt(i: int) -> tuple[Any, Callable[[], object]]:
        chance = random.Random(f"{SEED} adapter {i}")
        data = to_bytes(damaged(document, chance), chance)
        (adapter / "adapter_config.json").write_bytes(data)
        return data[:3000], lambda: open_adapter(str(adapter), progress=SilentProgress())

    hold(attempt)
    assert open_checkpoint(str(folder)).tensors
