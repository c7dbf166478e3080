"""A target on the Hugging Face hub: files are sent ahead, and one commit makes all of them visible."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError, which it only imports
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

from mlcweb import __version__
from mlcweb.errors import PublishError
from mlcweb.publish import local_file
from mlcweb.publish.address import Address
from mlcweb.publish.target import ANY, FOREVER, Conflict, Found, LocalFile, Stored

_TOKEN = "Set HF_TOKEN to a token that may write there, or log in with `hf auth login`."


class HubTarget:
    """A model repository. It decides about headers itself: all files get the hub's."""

    workers = 4

    def __init__(self, address: Address) -> None:
        self._repo = address.place
        self._text = address.text
        self._api = HfApi(library_name="mlcweb", library_version=__version__)
        self._staged: dict[str, CommitOperationAdd | CommitOperationDelete] = {}
        self._lock = threading.Lock()
        self._head: str | None = None
        self._insist = False
        disable_progress_bars()

    def files(self, folder: str, *, dates: bool = False) -> Mapping[str, Stored]:
        with self._errors():
            try:
                listed = list(self._api.list_repo_tree(self._repo, folder, expand=dates))
            except EntryNotFoundError:
                return {}
        return {
            file.path.rpartition("/")[2]: Stored(
                file.size, file.last_commit.date if file.last_commit else None
            )
            for file in listed
            if isinstance(file, RepoFile)
        }

    def read(self, key: str, most: int) -> Found | None:
        with self._errors(), tempfile.TemporaryDirectory() as folder:
            if self._head is None:
                self._head = self._api.repo_info(self._repo).sha
            try:
                path = self._api.hf_hub_download(self._repo, key, revision=self._head, local_dir=folder)
            except EntryNotFoundError:
                return None
            if Path(path).stat().st_size > most:
                raise PublishError(f"{self._text}: {key} has more than {most} bytes")
            return Found(Path(path).read_bytes(), self._head)

    def pieces(self, key: str) -> Iterator[bytes]:
        with self._errors(), tempfile.TemporaryDirectory() as folder:
            path = self._api.hf_hub_download(self._repo, key, local_dir=folder)
            with open(path, "rb") as file:
                while piece := file.read(local_file.PIECE_BYTES):
                    yield piece

    def send(self, file: LocalFile, key: str, advance: Callable[[int], None]) -> None:
        for _ in local_file.pieces(file):  # the hub's client hashes it too, and tells nobody
            pass
        with self._errors():
            added = CommitOperationAdd(path_in_repo=key, path_or_fileobj=str(file.path))
            self._api.preupload_lfs_files(self._repo, [added], num_threads=1)
        with self._lock:
            self._staged[key] = added
        advance(file.entry.bytes)

    def put(self, key: str, data: bytes, over: Any = ANY, cache: str = FOREVER) -> None:
        self._staged[key] = CommitOperationAdd(path_in_repo=key, path_or_fileobj=data)
        self._insist = self._insist or over is not ANY

    def remove(self, keys: Collection[str]) -> None:
        for key in keys:
            self._staged[key] = CommitOperationDelete(path_in_repo=key)

    def finish(self) -> None:
        if not self._staged:
            self._head = None
            return
        names = sorted({key.rpartition("/")[0] or key for key in self._staged})
        parent, self._head = (self._head if self._insist else None), None
        self._insist = False
        with self._errors():
            try:
                self._api.create_commit(
                    self._repo,
                    list(self._staged.values()),
                    commit_message=f"mlcweb publish: {', '.join(names)}"[:200],
                    parent_commit=parent,
                )
            except HfHubHTTPError as error:
                if error.response.status_code in (409, 412):
                    raise Conflict(self._repo) from error
                raise
        self._staged.clear()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except RepositoryNotFoundError as error:
            raise PublishError(
                f"{self._text}: there is no model repository {self._repo} on the hub, or this token may not see it",
                hint=f"Create it with `hf repo create {self._repo}`. {_TOKEN}",
            ) from error
        except HFValidationError as error:
            raise PublishError(f"{self._text}: {self._repo} is no repository's name") from error
        except LocalTokenNotFoundError as error:
            raise PublishError(f"{self._text}: there is no token for the hub", hint=_TOKEN) from error
        except OfflineModeIsEnabled as error:
            raise PublishError(f"{self._text}: HF_HUB_OFFLINE is set", hint="Unset it to publish.") from error
        except HfHubHTTPError as error:
            status = error.response.status_code
            refused = status in (401, 403)
            raise PublishError(
                f"{self._text}: the hub {'refuses to write' if refused else 'answered'} (HTTP status {status})",
                hint=_TOKEN if refused else "Publish again: what was sent is not sent again.",
            ) from error
        except (HTTPError, ConnectionError, EntryNotFoundError) as error:
            said = str(error).strip().partition("\n")[0][:200]
            raise PublishError(
                f"{self._text}: the hub cannot be reached: {said or type(error).__name__}",
                hint="Check the network, and publish again: what was sent is not sent again.",
            ) from error
        except OSError as error:
            raise PublishError(f"{self._text}: {error}") from error
