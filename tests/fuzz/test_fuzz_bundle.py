"""Damaged manifests, plans and kernel files of a bundle: opened, checked and told of as `mlcweb inspect` does."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlcweb.bundle import MANIFEST_NAME, Bundle, open_bundle
from mlcweb.bundle.inspect import facts
from tests.fuzz.hold import hold
from tests.fuzz.mutate import SEED, damaged, damaged_bytes, to_bytes
from tests.support.bundle_sample import make_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "sample")


def using(folder: Path) -> Callable[[], object]:
    def use() -> object:
        bundle = open_bundle(folder)
        bundle.check_tiers()
        stored = bundle.stored_weights()
        for tensor in bundle.manifest.weights.tensors:
            stored.tensor(tensor.name)
        bundle.verify()
        return json.dumps(facts(bundle))

    return use


def test_manifests(bundle: Bundle) -> None:
    path = bundle.path / MANIFEST_NAME
    document = json.loads(path.read_bytes())

    def attempt(i: int) -> tuple[Any, Callable[[], object]]:
        chance = random.Random(f"{SEED} manifest {i}")
        data = to_bytes(damaged(document, chance), chance)
        path.write_bytes(data)
        return data[:6000], using(bundle.path)

    hold(attempt)


def replaced(bundle: Bundle, old: str, data: bytes) -> None:
    """Put ``data`` in a file's place, with the name and hash that it has then."""
    digest = hashlib.sha256(data).hexdigest()
    stem, _, kind = old.rsplit(".", 2)
    new = f"{stem}.{digest[:8]}.{kind}"
    (bundle.path / new).write_bytes(data)
    manifest = json.loads(bundle.manifest.to_json())
    del manifest["files"][old]
    manifest["files"][new] = {"bytes": len(data), "sha256": digest}
    text = json.dumps(manifest).replace(f'"{old}"', f'"{new}"')
    (bundle.path / MANIFEST_NAME).write_text(text)


def test_plans(bundle: Bundle) -> None:
    name = bundle.tier("base").plan
    document = json.loads(bundle.file(name))

    def attempt(i: int) -> tuple[Any, Callable[[], object]]:
        chance = random.Random(f"{SEED} plan {i}")
        data = to_bytes(damaged(document, chance), chance)
        replaced(bundle, name, data)
        return data[:6000], using(bundle.path)

    hold(attempt)


def test_kernel_files(bundle: Bundle) -> None:
    name = bundle.tier("base").kernels
    whole = bundle.file(name)

    def attempt(i: int) -> tuple[Any, Callable[[], object]]:
        data = damaged_bytes(whole, random.Random(f"{SEED} kernels {i}"))
        replaced(bundle, name, data)
        return data[:3000], using(bundle.path)

    hold(attempt)
