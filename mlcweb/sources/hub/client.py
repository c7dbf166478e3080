"""Calls the hub through its own library; waits when the hub asks for it, and notices what is not the hub."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi, get_session, hf_hub_download
from huggingface_hub.errors import FileMetadataError, LocalEntryNotFoundError
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

from mlcweb.progress import Progress
from mlcweb.sources.hub.download_bar import forward_bytes

T = TypeVar("T")

# Answers that say nothing about the model: asked again, the hub may answer otherwise.
PASSING = frozenset((408, 425, 429))
_TRIES = 4
_LONGEST_WAIT = 60.0  # seconds that are waited in silence; what asks for more is told to the user


class HubBusy(Exception):
    """The hub answered 408, 425, 429 or 5xx; ``retry_after`` is the seconds it asks to wait, if it does."""

    def __init__(self, status: int, retry_after: float | None) -> None:
        super().__init__(f"HTTP status {status}")
        self.status, self.retry_after = status, retry_after


class NotTheHub(Exception):
    """What answered is another server, such as a network's login page; the text says how that shows."""


class HubClient:
    """One repository. ``patient``: a hub that is busy is asked again also if it does not say when."""

    def __init__(self, repo: str, progress: Progress, *, patient: bool) -> None:
        self.repo, self._progress, self._patient = repo, progress, patient

    def listing(self, revision: str | None) -> tuple[str, dict[str, int]]:
        """The commit, and every file's size in bytes."""

        def ask() -> tuple[str, dict[str, int]]:
            try:
                info = HfApi().model_info(self.repo, revision=revision, files_metadata=True)
                return info.sha or "", {file.rfilename: file.size or 0 for file in info.siblings or []}
            except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
                raise NotTheHub("its answer is not a list of the model's files") from error

        return self._call(ask)

    def download(self, name: str, revision: str | None, size: int | None = None) -> Path:
        """A file, in the cache; with its ``size`` progress is told in bytes."""
        options: dict[str, Any] = {}
        if size is not None:
            options["tqdm_class"] = forward_bytes(self._progress, size)
        return self._call(lambda: Path(hf_hub_download(self.repo, name, revision=revision, **options)))

    def _call(self, call: Callable[[], T]) -> T:
        for attempt in range(_TRIES):
            try:
                with _watched():
                    return call()
            except HubBusy as error:
                wait = error.retry_after
                if wait is None and self._patient:
                    wait = 2.0**attempt
                if wait is None or wait > _LONGEST_WAIT or attempt == _TRIES - 1:
                    raise
                self._progress.note(f"The hub answered with {error}; asking again in {wait:.0f} s.")
                time.sleep(wait)
            except LocalEntryNotFoundError as error:
                if isinstance(error.__cause__, FileMetadataError):
                    raise NotTheHub("its answer about a file lacks what a hub's has") from error
                raise
        raise AssertionError("the last try returns or raises")


@contextmanager
def _watched() -> Iterator[None]:
    """Within, every answer is looked at before the library sees it, which would take some for a model that is none,
    and wait for others without a word or an end.
    """
    session = get_session()
    before = session.event_hooks
    session.event_hooks = {**before, "response": [*before.get("response", []), _look]}
    try:
        yield
    finally:
        if not session.is_closed:
            session.event_hooks = before


def _look(response: Any) -> None:
    status: int = response.status_code
    if status in PASSING or status >= 500:
        raise HubBusy(status, _retry_after(response.headers))
    kind = response.headers.get("content-type", "")
    # no file that a compile needs is a web page
    if status == 200 and kind.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
        raise NotTheHub(f"{response.url.host} answered with a web page")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from Retry-After (a number or a date, https://www.rfc-editor.org/rfc/rfc9110#field.retry-after) or the
    hub's own ``ratelimit``.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        limit = parse_ratelimit_headers(headers)
        return float(limit.reset_in_seconds) if limit and limit.remaining == 0 else None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max((until - datetime.now(timezone.utc)).total_seconds(), 0.0)
