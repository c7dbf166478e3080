"""Hostile and damaged manifests: each is refused with the field's name, and the sample itself is accepted."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlcweb.bundle import Manifest, open_bundle
from mlcweb.errors import BundleError
from tests.support.bundle_sample import make_bundle

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (make_bundle(tmp_path_factory.mktemp("bundle") / "b").path / "mlcweb.json").read_bytes()


def rename(data: dict[str, Any], old: str, new: str) -> None:
    data["files"][new] = data["files"].pop(old)


def put_wasm(name: str) -> Edit:
    """A manifest that names its wasm ``name``, listed under that name."""

    def edit(data: dict[str, Any]) -> None:
        rename(data, data["wasm"], name)
        data["wasm"] = name

    return edit


def tensor(index: int, **values: Any) -> Edit:
    return lambda data: data["weights"]["tensors"][index].update(values)


QUALITY = {
    "tokens": 10,
    "same_tokens": 9,
    "kl_micronats": 5,
    "kl_p99_micronats": 7,
    "perplexity_thousandths": 12_300,
    "source_perplexity_thousandths": 12_200,
}


def quality(**values: int) -> Edit:
    return lambda data: data.update(quality={**QUALITY, **values})


def chunk_bytes(index: int, size: int) -> Edit:
    return lambda data: data["files"][data["weights"]["chunks"][index]].update(bytes=size)


def repeat_tier(data: dict[str, Any]) -> None:
    data["tiers"].append(copy.deepcopy(data["tiers"][0]))


HOSTILE: dict[str, tuple[Edit, str]] = {
    "another format": (lambda d: d.update(format="zip"), "format"),
    "a later version": (lambda d: d.update(version=2), "reads bundle format 1, not 2"),
    "no version": (lambda d: d.pop("version"), "version"),
    "an unknown key": (lambda d: d.update(extra=1), "extra"),
    "a missing part": (lambda d: d.pop("weights"), "weights"),
    "a boolean for a number": (lambda d: d["model"].update(layers=True), "model.layers"),
    "a string for a number": (lambda d: d["model"].update(layers="1"), "model.layers"),
    "a negative number": (lambda d: d["memory"].update(scratch=-1), "memory.scratch"),
    "a number past 2^53": (lambda d: d["memory"].update(scratch=2**53), "memory.scratch"),
    "heads that kv_heads do not divide": (lambda d: d["model"].update(kv_heads=3), "model.kv_heads"),
    "an eos outside the vocabulary": (
        lambda d: d["tokenizer"].update(eos_token_ids=[32]),
        "eos_token_ids[0]",
    ),
    "a path upwards": (put_wasm("../model.00000000.wasm"), "model.00000000.wasm"),
    "two dots": (put_wasm("model..00000000.wasm"), "model..00000000.wasm"),
    "an absolute path": (put_wasm("/etc/model.00000000.wasm"), "/etc/model.00000000.wasm"),
    "a backslash": (put_wasm("a\\model.00000000.wasm"), "model.00000000.wasm"),
    "a URL": (put_wasm("https://x.org/m.00000000.wasm"), "x.org"),
    "a name with a query": (put_wasm("model.00000000.wasm?x"), "model.00000000.wasm?x"),
    "a name ending in a newline": (put_wasm("model.cd5d4935.wasm\n"), "newline"),
    "a name without a hash": (put_wasm("model.wasm"), "model.wasm"),
    "a name with another file's hash": (put_wasm("model.00000000.wasm"), "files.model.00000000.wasm"),
    "the manifest itself as a file": (put_wasm("mlcweb.json"), "mlcweb.json"),
    "an unlisted wasm": (
        lambda d: d.update(wasm="model.00000000.wasm"),
        "wasm: 'model.00000000.wasm' is not",
    ),
    "an unlisted tokenizer": (lambda d: d["files"].pop(d["tokenizer"]["config"]), "tokenizer.config"),
    "an unlisted plan": (lambda d: d["files"].pop(d["tiers"][1]["plan"]), "tiers[1].plan"),
    "an unlisted chunk": (lambda d: d["files"].pop(d["weights"]["chunks"][2]), "weights.chunks[2]"),
    "an unlisted validation": (lambda d: d["files"].pop(d["validation"]), "validation"),
    "an upper-case sha256": (lambda d: d["files"][d["wasm"]].update(sha256="A" * 64), "sha256"),
    "a short sha256": (lambda d: d["files"][d["wasm"]].update(sha256="a" * 63), "sha256"),
    "no tiers": (lambda d: d.update(tiers=[]), "tiers"),
    "a tier twice": (repeat_tier, "tiers[2].name"),
    "a tier with an odd name": (lambda d: d["tiers"][0].update(name="../x"), "tiers[0].name"),
    "a limit that is a string": (
        lambda d: d["tiers"][0].update(limits={"maxBufferSize": "1"}),
        "maxBufferSize",
    ),
    "a chunk over 24 MiB": (chunk_bytes(0, 25165840), "weights.chunks[0]"),
    "an empty chunk": (chunk_bytes(0, 0), "weights.chunks[0]"),
    "a chunk that cuts an element": (chunk_bytes(0, 250), "weights.chunks[0]"),
    "a short chunk in the middle": (chunk_bytes(1, 240), "weights.chunks[1]"),
    "a last chunk larger than the others": (chunk_bytes(4, 512), "weights.chunks[4]"),
    "a chunk twice": (lambda d: d["weights"]["chunks"].append(d["weights"]["chunks"][0]), "weights.chunks"),
    "a wrong total": (lambda d: d["weights"].update(bytes=d["weights"]["bytes"] + 16), "weights.bytes"),
    "a tensor twice": (tensor(1, name="odd.weight"), "weights.tensors[1].name"),
    "an unknown dtype": (tensor(0, dtype="bfloat16"), "weights.tensors[0].dtype"),
    "a dtype of another size": (tensor(0, dtype="float16"), "weights.tensors[0].bytes"),
    "a dimension of 0": (tensor(0, shape=[0]), "weights.tensors[0].shape[0]"),
    "a dimension of -1": (tensor(1, shape=[-16, -9]), "weights.tensors[1].shape"),
    "no dimensions": (tensor(0, shape=[]), "weights.tensors[0].shape"),
    "a shape whose product overflows 64 bits": (tensor(1, shape=[2**31 - 1] * 4), "weights.tensors[1].bytes"),
    "bytes that are not the shape's": (tensor(1, bytes=575), "weights.tensors[1].bytes"),
    "an offset that is not a multiple of 16": (tensor(1, offset=56), "weights.tensors[1].offset"),
    "an offset past the end": (tensor(4, offset=2**40), "weights.tensors[4].offset"),
    "a tensor that runs past the end": (tensor(4, offset=912), "weights.tensors[4].offset"),
    "an unlisted config": (
        lambda d: d.update(config="config.00000000.json"),
        "config: 'config.00000000.json'",
    ),
    "more same tokens than tokens": (quality(same_tokens=11), "quality.same_tokens: 11 of 10"),
    "a quality of no tokens": (quality(tokens=0, same_tokens=0), "quality.tokens"),
    "a negative divergence": (quality(kl_micronats=-1), "quality.kl_micronats"),
    "a quality with an unknown key": (quality(bleu=3), "bleu"),
    "a quality without a part": (lambda d: d.update(quality={"tokens": 3}), "quality"),
    "overlapping tensors": (tensor(2, offset=608), "weights.tensors[2].offset"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_manifests_are_refused_by_field(sample: bytes, case: str) -> None:
    edit, named = HOSTILE[case]
    data = json.loads(sample)
    edit(data)
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(json.dumps(data).encode())
    assert named in caught.value.message
    assert len(caught.value.message) < 500


TEXTS = {
    "empty": b"",
    "not UTF-8": b'{"name": "\xff"}',
    "cut short": b'{"format": "mlcweb-bundle", "vers',
    "a list": b"[]",
    "null": b"null",
    "nested too deeply": b"[" * 100_000 + b"]" * 100_000,
    "a number of 10,000 digits": b'{"version": ' + b"9" * 10_000 + b"}",
    "NaN": b'{"version": NaN}',
    "a key twice": b'{"format": "mlcweb-bundle", "version": 1, "version": 1}',
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts_that_are_no_manifest(case: str) -> None:
    with pytest.raises(BundleError, match=r"^mlcweb\.json"):
        Manifest.from_json(TEXTS[case])


def test_integers_written_as_fractions_are_refused(sample: bytes) -> None:
    assert b'"layers": 1,' in sample
    with pytest.raises(BundleError, match="not an integer"):
        Manifest.from_json(sample.replace(b'"layers": 1,', b'"layers": 1.0,'))


def test_json_round_trip_keeps_every_byte(sample: bytes) -> None:
    assert Manifest.from_json(sample).to_json() == sample
    assert sample.endswith(b"}\n")


def test_validation_may_be_absent(sample: bytes) -> None:
    data = json.loads(sample)
    del data["files"][data.pop("validation")]
    manifest = Manifest.from_json(json.dumps(data).encode())
    assert manifest.validation is None
    assert b'"validation"' not in manifest.to_json()


def test_a_folder_without_a_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        open_bundle(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="is not a bundle"):
        open_bundle(tmp_path / "file")


def test_a_manifest_may_tell_its_quality(sample: bytes) -> None:
    assert Manifest.from_json(sample).quality is None
    data = json.loads(sample)
    data["quality"] = QUALITY
    manifest = Manifest.from_json(json.dumps(data).encode())
    assert manifest.quality is not None and manifest.quality.same == 0.9
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert json.loads(manifest.to_json())["quality"] == QUALITY
