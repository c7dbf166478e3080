"""Damaged configs and tokenizers that are accepted are compiled to the end, or refused on the way."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.progress import SilentProgress
from tests.fuzz.hold import hold
from tests.fuzz.mutate import MUTATIONS, SEED, damaged, to_bytes
from tests.support.tiny import TinyLlama, make_llama

NAMES = ("config.json", "config.json", "tokenizer_config.json", "tokenizer.json")


def test_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLCWEB_CACHE", str(tmp_path / "cache"))
    folder = make_llama(tmp_path / "model", TinyLlama(layers=1))
    whole = {name: (folder / name).read_bytes() for name in NAMES}
    request = CompileRequest(
        str(folder), quantization="q4f32_1", tiers=("base",), out_dir=tmp_path / "out", force=True
    )

    def attempt(i: int) -> tuple[Any, Callable[[], object]]:
        chance, name = random.Random(f"{SEED} compile {i}"), NAMES[i % len(NAMES)]
        for other, data in whole.items():
            (folder / other).write_bytes(data)
        data = to_bytes(damaged(json.loads(whole[name]), chance), chance)
        (folder / name).write_bytes(data)
        return (name, data[:3000]), lambda: compile_bundle(request, SilentProgress())

    hold(attempt, max(MUTATIONS // 20, 4))
