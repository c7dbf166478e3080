"""Turns each failure of the hub into a SourceError that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError, which it only imports
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # the HTTP client's: httpx in version 1, httpx2 in version 2
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from mlcweb.errors import SourceError
from mlcweb.sources.hub.client import HubBusy, NotTheHub


@contextmanager
def explained(repo: str, revision: str | None) -> Iterator[None]:
    """Turns huggingface_hub's exceptions into one SourceError each: the most specific class first."""
    try:
        yield
    except GatedRepoError as error:
        raise SourceError(
            f"{repo}: is gated, and this machine has no access to it",
            hint=f"Accept the licence on the page of {repo}, then set HF_TOKEN to a token of that account.",
        ) from error
    except RepositoryNotFoundError as error:
        raise SourceError(
            f"{repo}: no such model on the hub, or it is private",
            hint="Check the spelling; for a private model set HF_TOKEN.",
        ) from error
    except RevisionNotFoundError as error:
        raise SourceError(
            f"{repo}: has no revision {revision}", hint="Give a branch, a tag or a full commit hash."
        ) from error
    except OfflineModeIsEnabled as error:
        raise SourceError(
            f"{repo}: is not completely in the cache, and HF_HUB_OFFLINE is set",
            hint="Unset HF_HUB_OFFLINE once to download it, or give a local folder.",
        ) from error
    except HubBusy as error:
        wait = error.retry_after
        raise SourceError(
            f"{repo}: the hub answered with {error}",
            hint="Try again later; a repeated run resumes the download."
            if wait is None
            else f"It asks to wait {wait:.0f} s; a repeated run then resumes the download.",
        ) from error
    except NotTheHub as error:
        raise SourceError(
            f"{repo}: what answers is not the hub: {error}",
            hint="Sign in to this network, or see that proxy and HF_ENDPOINT are right. Or give a local folder.",
        ) from error
    except HFValidationError as error:
        raise SourceError(f"{repo}: is not a model id: {error}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise SourceError(
            f"{repo}: the hub answered with HTTP status {status}",
            hint="Set HF_TOKEN to a valid token." if status in (401, 403) else "Try again later.",
        ) from error
    except (LocalEntryNotFoundError, EntryNotFoundError, ConnectionError, HTTPError) as error:
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise SourceError(
            f"{repo}: the hub cannot be reached: {reason}",
            hint="Check the network; a repeated run resumes the download. Or give a local folder.",
        ) from error
    except OSError as error:
        # ChunkedEncoding-like failures and a full disk both arrive here; the text says which.
        raise SourceError(
            f"{repo}: the download failed: {error}", hint="A repeated run resumes it."
        ) from error
