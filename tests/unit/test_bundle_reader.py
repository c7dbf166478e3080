"""Reading a bundle back: every byte is checked, tensors span chunks, plans and kernels are parsed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcweb.bundle import Bundle, BundleWriter, open_bundle
from mlcweb.bundle.inspect import context_lengths, facts, gpu_memory
from mlcweb.bundle.plan_check import check_plan
from mlcweb.bundle.reader import split_kernels
from mlcweb.errors import BundleError
from mlcweb.progress import SilentProgress
from tests.support.bundle_sample import CHUNK, KERNELS, arrays, make_bundle, plan


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "b")


class Recorder(SilentProgress):
    def __init__(self) -> None:
        self.total = self.done = 0
        self.notes: list[str] = []

    def start(self, stage: str, total: int = 0, unit: str = "items") -> None:
        self.total = total

    def advance(self, amount: int) -> None:
        self.done += amount

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_verify_reads_every_byte_and_notes_other_files(bundle: Bundle) -> None:
    (bundle.path / "README.md").write_text("mine")
    progress = Recorder()
    bundle.verify(progress)
    assert progress.done == progress.total == sum(file.bytes for file in bundle.manifest.files.values())
    assert progress.notes == ["not part of the bundle: README.md"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def extend(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip, truncate, extend, Path.unlink, to_folder])
def test_verify_names_each_damaged_file(bundle: Bundle, damage: Callable[[Path], None]) -> None:
    for name in bundle.manifest.files:
        copy = make_bundle(bundle.path.parent / "copy")
        damage(copy.path / name)
        with pytest.raises(BundleError) as caught:
            copy.verify()
        assert caught.value.message.startswith(f"{name}: ")
        if (copy.path / name).is_dir():
            (copy.path / name).rmdir()


def test_tensors_span_chunks(bundle: Bundle) -> None:
    entries = {tensor.name: tensor for tensor in bundle.manifest.weights.tensors}
    a = entries["a.q_weight"]
    assert (a.offset + a.bytes) // CHUNK - a.offset // CHUNK == 2
    assert len(bundle.manifest.weights.chunks) == 5
    stored = bundle.stored_weights()
    for name, array in arrays().items():
        assert np.array_equal(bundle.tensor(name), array)
        assert bundle.tensor(name).dtype == array.dtype
        assert stored.shape(name) == array.shape
        for start in range(array.shape[0]):
            assert np.array_equal(stored.rows(name, start, array.shape[0]), array[start:])
            assert np.array_equal(stored.rows(name, 0, start), array[:start])


def test_tensors_that_cannot_be_read(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no tensor 'nope'"):
        bundle.tensor("nope")
    with pytest.raises(IndexError, match=r"rows 0:17 of a.q_weight, which has 16"):
        bundle.stored_weights().rows("a.q_weight", 0, 17)
    chunk = bundle.manifest.weights.chunks[1]
    truncate(bundle.path / chunk)
    with pytest.raises(BundleError, match=f"{chunk}: ends after 255 bytes"):
        bundle.tensor("a.q_weight")
    (bundle.path / chunk).unlink()
    with pytest.raises(BundleError, match=f"{chunk}: cannot be read"):
        bundle.tensor("a.q_weight")


def test_plan_and_kernels(bundle: Bundle) -> None:
    assert bundle.plan("base") == plan("base")
    kernels = bundle.kernels("subgroups")
    assert list(kernels) == ["embed", "pick"]
    assert "".join(kernels.values()) == KERNELS
    with pytest.raises(BundleError, match="no tier 'f16'; it has subgroups, base"):
        bundle.plan("f16")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "does not begin"),
        (b"fn x() {}\n//// kernel a\n", "does not begin"),
        (b"//// kernel a\n//// kernel a\n", "the kernel a occurs twice"),
        (b"//// kernel \xff\n", "not UTF-8"),
    ],
)
def test_kernel_files_that_are_refused(text: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        split_kernels(text, "kernels.x.wgsl")


NEEDS = {
    "features": ["shader-f16"],
    "limits": {"maxComputeWorkgroupStorageSize": 20480},
    "subgroup_size": 32,
    "subgroup_matrix": {"component": "f16", "result": "f32", "m": 16, "n": 16, "k": 16},
}


def matrix(**changes: Any) -> Callable[[dict[str, Any]], object]:
    """A prefill on matrices, with these needs changed; a change to None leaves it out."""
    needs = {key: value for key, value in {**NEEDS, **changes}.items() if value is not None}
    return lambda p: p["entries"].update(prefill_matrix={**p["entries"]["prefill"], "needs": needs})


MISFITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a weight of another size": (
        lambda p: p["buffers"][0].update(bytes=572),
        "buffers[0].bytes: 572, the weights have 576",
    ),
    "a weight that is not stored": (
        lambda p: p["buffers"][0].update(name="z"),
        "buffers[0].bytes: 576, the weights have no such tensor",
    ),
    "too few tokens": (lambda p: p["buffers"][2].update(bytes=60), "tokens has 60 of 64 bytes"),
    "too few logits": (lambda p: p["buffers"][3].update(bytes=124), "logits has 124 of 128 bytes"),
    "no state": (lambda p: p["buffers"][5].update(name="z"), "state has none of 32 bytes"),
    "too short a page table": (lambda p: p["buffers"][6].update(bytes=12), "page_table has 12 of 16 bytes"),
    "a kernel without WGSL": (lambda p: p["kernels"][1].update(name="peck"), "lacks the kernel peck"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_plan_that_does_not_fit_its_bundle_is_never_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    edit, named = MISFITS[case]
    data = plan("base")
    edit(data)
    monkeypatch.setattr("tests.support.bundle_sample.plan", lambda tier: {**data, "tier": tier})
    with pytest.raises(BundleError) as caught:
        make_bundle(tmp_path / "b")
    assert named in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_prefill_on_matrices_is_read_and_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = plan("base")
    matrix()(data)
    check_plan(data, "base", "plan.json")
    before = gpu_memory(plan("base"), 17, 16)
    assert gpu_memory(data, 17, 16) == before  # of several prefills one is kept
    data["entries"]["prefill_matrix"]["launches"] *= 3
    assert gpu_memory(data, 17, 16)["uniform"] == before["uniform"] + 2 * 256
    monkeypatch.setattr("tests.support.bundle_sample.plan", lambda tier: {**data, "tier": tier})
    tier = facts(make_bundle(tmp_path / "b"))["tiers"][0]
    assert tier["needs"] == {"prefill_matrix": NEEDS}
    assert tier["launches"]["prefill_matrix"] == 3


def test_memory_counts_whole_pages_and_uniform_slots() -> None:
    assert gpu_memory(plan("base"), 17, 16) == {
        "weight": 576, "kv": 2000, "recurrent": 0, "scratch": 96, "input": 64 + 32 + 16 + 32 + 16, "output": 128,
        "uniform": 5 * 256,
        "total": 4240, "kv_at_load": 2000, "total_at_load": 4240,
    }  # fmt: skip
    assert gpu_memory(plan("base"), 1000, 16)["kv"] == 4000
    long = plan("base")
    long["buffers"][1]["pages"] = 256
    long["buffers"][4]["bytes"] = 9  # whole words, 16 bytes at least
    long["kernels"][0]["uniform_words"] = 65
    actual = gpu_memory(long, 4096, 16)
    assert (actual["kv"], actual["kv_at_load"], actual["scratch"]) == (256000, 64000, 16)
    assert actual["uniform"] == 512 + 2 * 512 + 512 + 256
    assert actual["total"] - actual["total_at_load"] == 256000 - 64000
    assert context_lengths(8192) == [1024, 2048, 4096, 8192]
    assert context_lengths(64) == [64]
    assert context_lengths(3000) == [1024, 2048, 3000]


def test_inspect_is_json_and_complete(bundle: Bundle) -> None:
    actual = json.loads(json.dumps(facts(bundle)))
    assert [tier["name"] for tier in actual["tiers"]] == ["subgroups", "base"]
    tier = actual["tiers"][0]
    assert tier["launches"] == {"prefill": 1, "decode": 2, "mask": 1, "sample": 1}
    assert tier["pipelines"] == 2
    assert [kernel["name"] for kernel in tier["kernels"]] == ["embed", "pick"]
    assert [memory["context"] for memory in tier["memory"]] == [64]
    assert actual["bytes"] == sum(
        (bundle.path / name).stat().st_size for name in bundle.manifest.files
    ) and len(actual["files"]) == len(bundle.manifest.files)
    assert [m["context"] for m in facts(bundle, [3, 40])["tiers"][0]["memory"]] == [3, 40]


def test_stored_weights_before_the_bundle_is_finished(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "b", chunk_bytes=CHUNK) as writer:
        with writer.weights() as weights:
            for name, array in arrays().items():
                weights.add_tensor(name, array)
        stored = writer.stored_weights()
        for name, array in arrays().items():
            assert np.array_equal(stored.tensor(name), array)


def test_open_accepts_the_manifest_path(bundle: Bundle) -> None:
    assert open_bundle(bundle.path / "mlcweb.json").manifest == bundle.manifest
