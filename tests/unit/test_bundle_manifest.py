"""Manifests as text and as values; tests/contract has what is refused by its field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlcweb.bundle import Manifest, open_bundle, same_share
from mlcweb.contract.constants import VERSION
from mlcweb.errors import BundleError
from tests.support.bundle_sample import make_bundle


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (make_bundle(tmp_path_factory.mktemp("bundle") / "b").path / "mlcweb.json").read_bytes()


QUALITY = {
    "tokens": 10,
    "same_tokens": 9,
    "kl_micronats": 5,
    "kl_p99_micronats": 7,
    "perplexity_thousandths": 12_300,
    "source_perplexity_thousandths": 12_200,
}


@pytest.mark.parametrize("version", [1, VERSION + 1, "2"])
def test_another_version_says_what_to_do(sample: bytes, version: object) -> None:
    data = {**json.loads(sample), "version": version}
    with pytest.raises(BundleError, match=f"reads bundle format {VERSION}, not") as caught:
        Manifest.from_json(json.dumps(data).encode())
    assert caught.value.hint is not None and "Compile the bundle again" in caught.value.hint


TEXTS = {
    "empty": b"",
    "not UTF-8": b'{"name": "\xff"}',
    "cut short": b'{"format": "mlcweb-bundle", "vers',
    "a list": b"[]",
    "null": b"null",
    "nested too deeply": b"[" * 100_000 + b"]" * 100_000,
    "a number of 10,000 digits": b'{"version": ' + b"9" * 10_000 + b"}",
    "NaN": b'{"version": NaN}',
    "a key twice": b'{"format": "mlcweb-bundle", "version": 2, "version": 2}',
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
    assert manifest.quality is not None and same_share(manifest.quality) == 0.9
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert json.loads(manifest.to_json())["quality"] == QUALITY
