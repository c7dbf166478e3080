"""Models on the Hugging Face hub, through its own library and cache (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
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

from mlcweb.errors import CheckpointError, SourceError, UnsupportedError
from mlcweb.progress import Progress
from mlcweb.sources.checkpoint import Checkpoint
from mlcweb.sources.directory import INDEX_FILE, SINGLE_FILE, open_directory, shard_names
from mlcweb.sources.download_bar import forward_bytes
from mlcweb.sources.licence import CARD_FILE
from mlcweb.sources.tokenizer_files import OPTIONAL_FILES, REQUIRED_FILES, TEMPLATE_FILE, TEMPLATE_FOLDER


def open_hub(repo: str, *, revision: str | None, progress: Progress) -> Checkpoint:
    """Download what a compile needs of ``repo`` (``org/name``) at ``revision``, and open it.

    The revision is resolved to a commit, which is recorded. When the hub cannot be reached, what an earlier
    run cached is used, and noted. Raises SourceError with what to do about it.
    """
    with _explain(repo, revision):
        try:
            folder = _download(repo, revision, progress)
        except (OfflineModeIsEnabled, ConnectionError, HTTPError, LocalEntryNotFoundError) as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
                raise
            folder = _find_cached(repo, revision, error)
            progress.note(
                f"The hub cannot be reached; using {repo} at commit {folder.name[:12]} from the cache."
            )
    return open_directory(folder, source={"kind": "hub", "id": repo, "revision": folder.name})


def _download(repo: str, revision: str | None, progress: Progress) -> Path:
    info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    commit = info.sha or ""
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    if "config.json" not in sizes:
        _refuse_gguf(repo, sizes)
        raise SourceError(f"{repo}: has no config.json", hint="It is not a transformers model repository.")
    # By its given name, not by its commit, the first download also records in the cache which commit the name
    # stands for: that is how a later offline run finds it.
    folder = Path(hf_hub_download(repo, "config.json", revision=revision)).parent
    if folder.name != commit:
        commit = folder.name
        info = HfApi().model_info(repo, revision=commit, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    small = [name for name in (*REQUIRED_FILES, *OPTIONAL_FILES, TEMPLATE_FILE, CARD_FILE) if name in sizes]
    small += [name for name in sizes if name.startswith(f"{TEMPLATE_FOLDER}/") and name.endswith(".jinja")]
    if INDEX_FILE in sizes:
        hf_hub_download(repo, INDEX_FILE, revision=commit)
        weights = sorted(set(shard_names(folder / INDEX_FILE).values()))
    elif SINGLE_FILE in sizes:
        weights = [SINGLE_FILE]
    elif any(name.startswith("pytorch_model") for name in sizes):
        raise UnsupportedError(
            f"{repo}: holds only pickled weights (pytorch_model.bin), which mlcweb does not load",
            hint="Convert them: AutoModelForCausalLM.from_pretrained(...).save_pretrained(folder).",
        )
    else:
        _refuse_gguf(repo, sizes)
        raise SourceError(f"{repo}: has no {SINGLE_FILE} and no {INDEX_FILE}")
    missing = [name for name in weights if name not in sizes]
    if missing:
        raise CheckpointError(f"{repo}: {INDEX_FILE} names {missing[0]}, which the repository does not hold")
    # Weights last: a cache that has all of them has every small file too.
    names = [*small, *weights]
    progress.start(f"Downloading {repo}", sum(sizes[name] for name in names), "bytes")
    for name in names:
        hf_hub_download(repo, name, revision=commit, tqdm_class=forward_bytes(progress, sizes[name]))
    return folder


def _find_cached(repo: str, revision: str | None, cause: Exception) -> Path:
    """The cached snapshot of ``revision``. Re-raises ``cause`` if there is none, or if it lacks weights."""
    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise cause from None
    if (folder / INDEX_FILE).is_file():
        names = set(shard_names(folder / INDEX_FILE).values())
    else:
        names = {SINGLE_FILE}
    if any(not (folder / name).is_file() for name in {"config.json", "tokenizer.json", *names}):
        raise cause
    return folder


def _refuse_gguf(repo: str, names: Collection[str]) -> None:
    ggufs = sorted(name for name in names if name.endswith(".gguf"))
    if ggufs:
        raise UnsupportedError(
            f"{repo}: holds GGUF files and no safetensors: {', '.join(ggufs[:3])}",
            hint=f"Download one (hf download {repo} {ggufs[0]}) and give its path.",
        )


@contextmanager
def _explain(repo: str, revision: str | None) -> Iterator[None]:
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
