"""Conditional writes of an object store in memory, also where the store does not know them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlcweb.publish import PublishRequest, publish
from mlcweb.publish.address import read_address
from mlcweb.publish.target import ANY, Conflict
from tests.support.bundle_sample import make_bundle
from tests.support.published import catalog, sha256_of, whole_model

obstore = pytest.importorskip("obstore")

NAME = "Sample-q4f32_1"


@pytest.fixture(params=["knows", "refuses"])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    from obstore.exceptions import GenericError
    from obstore.store import MemoryStore

    from mlcweb.publish.object_store import ObjectStoreTarget

    if request.param == "refuses":
        put = obstore.put

        def without_conditions(*arguments: Any, mode: Any = "overwrite", **more: Any) -> Any:
            if mode != "overwrite":
                raise GenericError("Server returned non-2xx status code: 501 Not Implemented: <Error>")
            return put(*arguments, mode=mode, **more)

        monkeypatch.setattr(obstore, "put", without_conditions)
    store = MemoryStore()
    return ObjectStoreTarget(read_address("s3://memory/x"), store, store)


def test_a_file_is_put_over_the_version_that_was_read(target: Any) -> None:
    target.put("x/catalog.json", b"one", None)
    with pytest.raises(Conflict):
        target.put("x/catalog.json", b"two", None)
    first = target.read("x/catalog.json", 10)
    target.put("x/catalog.json", b"two", first.version)
    with pytest.raises(Conflict):
        target.put("x/catalog.json", b"three", first.version)
    assert target.read("x/catalog.json", 10).data == b"two"
    target.put("x/catalog.json", b"four", ANY)
    assert target.read("x/catalog.json", 10).data == b"four"


def test_a_bundle_is_published_and_updated(target: Any, tmp_path: Path) -> None:
    def read(key: str) -> bytes | None:
        found = target.read(f"x/{key}", 1 << 20)
        return found.data if found else None

    for seed in (1, 2):
        bundle = make_bundle(tmp_path / str(seed), seed=seed).path
        publish(PublishRequest((bundle,), "s3://memory/x"), target=target)
        assert whole_model(read, NAME) == sha256_of(bundle)
        assert catalog(read)[NAME]["manifest_sha256"] == sha256_of(bundle)
