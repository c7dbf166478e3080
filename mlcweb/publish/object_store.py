"""A target in an object store (S3 and what speaks its protocol, Google's, Azure's), through the library obstore.

An object appears whole or not at all: a PUT has its length and its sha256 in the signature, and the parts of a
multipart upload become an object only when it is completed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError

from mlcweb.errors import PublishError
from mlcweb.publish import local_file
from mlcweb.publish.address import Address
from mlcweb.publish.parallel import interruptible, run_parallel
from mlcweb.publish.store_errors import explained, lacks_conditions
from mlcweb.publish.target import ANY, FOREVER, Conflict, Found, LocalFile, Stored, content_type

if TYPE_CHECKING:
    from obstore import Attributes, PutMode
    from obstore.store import ObjectStore

# Most files are chunks of at most 24 MiB: one request each, of which a few are in memory at a time.
_WHOLE_BYTES = 32 << 20
_PART_BYTES = 8 << 20


class ObjectStoreTarget:
    """A bucket or container. ``patient`` retries for minutes, ``hasty`` gives up soon: it finds out what is wrong."""

    workers = 4

    def __init__(self, address: Address, patient: ObjectStore, hasty: ObjectStore) -> None:
        self._address = address
        self._patient = patient
        self._hasty = hasty
        self._conditions = True

    def files(self, folder: str, *, dates: bool = False) -> Mapping[str, Stored]:
        with self._errors(folder):
            listed = interruptible(lambda: obstore.list_with_delimiter(self._hasty, folder))
        return {
            str(found["path"]).rpartition("/")[2]: Stored(found["size"], found["last_modified"])
            for found in listed["objects"]
        }

    def read(self, key: str, most: int) -> Found | None:
        with self._errors(key):
            try:
                got = interruptible(lambda: obstore.get(self._hasty, key))
                if got.meta["size"] > most:
                    raise PublishError(f"{self._address.text}: {key} has more than {most} bytes")
                data = bytes(interruptible(got.bytes))
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None
        version = {name: got.meta[name] for name in ("e_tag", "version") if got.meta.get(name)}
        return Found(data, version)

    def pieces(self, key: str) -> Iterator[bytes]:
        with self._errors(key):
            for piece in obstore.get(self._patient, key).stream(min_chunk_size=local_file.PIECE_BYTES):
                yield bytes(piece)

    def send(self, file: LocalFile, key: str, advance: Callable[[int], None]) -> None:
        attributes = _attributes(file.name, FOREVER)
        if file.entry.bytes <= _WHOLE_BYTES:
            data = local_file.whole(file)
            with self._errors(key):
                obstore.put(self._patient, key, data, attributes=attributes, use_multipart=False)
            advance(len(data))
            return

        def pieces() -> Iterator[bytes]:
            for piece in local_file.pieces(file):
                yield piece
                advance(len(piece))

        with self._errors(key):
            obstore.put(
                self._patient,
                key,
                pieces(),
                attributes=attributes,
                use_multipart=True,
                chunk_size=_PART_BYTES,
                max_concurrency=2,
            )

    def put(self, key: str, data: bytes, over: Any = ANY, cache: str = FOREVER) -> None:
        mode: PutMode = "overwrite" if over is ANY else "create" if over is None else over

        def write(mode: PutMode) -> None:
            attributes = _attributes(key, cache)
            interruptible(
                lambda: obstore.put(
                    self._patient, key, data, attributes=attributes, mode=mode, use_multipart=False
                )
            )

        with self._errors(key):
            if self._conditions or mode == "overwrite":
                try:
                    write(mode)
                    return
                except (AlreadyExistsError, PreconditionError) as error:
                    raise Conflict(key) from error
                except BaseError as error:
                    if mode == "overwrite" or not (
                        isinstance(error, NotSupportedError) or lacks_conditions(error)
                    ):
                        raise
                    self._conditions = False
            # the store cannot compare: what another publisher writes between these two is lost
            there = self.read(key, 1 << 30)
            if (there.version if there else None) != over:
                raise Conflict(key)
            write("overwrite")

    def remove(self, keys: Collection[str]) -> None:
        def delete(key: str) -> None:
            with self._errors(key), suppress(FileNotFoundError):
                obstore.delete(self._patient, key)

        run_parallel(delete, keys, self.workers)  # one by one: not every store knows the request for many

    def finish(self) -> None:
        """Everything is visible already."""

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise explained(error, self._address, key) from error


def _attributes(name: str, cache: str) -> Attributes:
    return {"Content-Type": content_type(name), "Cache-Control": cache}
