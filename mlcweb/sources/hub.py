"""Models and adapters on the Hugging Face hub, by its own library and cache (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
from mlcweb.sources.adapter_files import CONFIG_FILE as ADAPTER_CONFIG
from mlcweb.sources.adapter_files import WEIGHTS_FILE as ADAPTER_WEIGHTS
from mlcweb.sources.adapter_files import refuse_pickled
from mlcweb.sources.checkpoint import Checkpoint
from mlcweb.sources.directory import INDEX_FILE, SINGLE_FILE, open_directory, shard_names
from mlcweb.sources.download_bar import forward_bytes
from mlcweb.sources.licence import CARD_FILE
from mlcweb.sources.tokenizer_files import OPTIONAL_FILES, REQUIRED_FILES, TEMPLATE_FILE, TEMPLATE_FOLDER


@dataclass(frozen=True)
class _Kind:
    """What is fetched of a repository.

    ``config`` is the file without which it is another kind of repository, as ``refuse`` explains. ``weights``
    names the files of weights, given the repository, the folder with ``config`` in it, all files' sizes and the
    commit; it raises where there are none. ``is_whole``: a cached folder lacks nothing.
    """

    config: str
    weights: Callable[[str, Path, Mapping[str, int], str], list[str]]
    refuse: Callable[[str, Mapping[str, int]], None]
    is_whole: Callable[[Path], bool]


def open_hub(repo: str, *, revision: str | None, progress: Progress) -> Checkpoint:
    """Download what a compile needs of ``repo`` (``org/name``) at ``revision``, and open it.

    The revision is resolved to a commit, which is recorded. When the hub cannot be reached, what an earlier
    run cached is used, and noted. Raises SourceError with what to do about it.
    """
    folder = _fetch(repo, revision, _MODEL, progress)
    return open_directory(folder, source={"kind": "hub", "id": repo, "revision": folder.name})


def fetch_adapter(repo: str, *, progress: Progress) -> Path:
    """Download an adapter, as ``open_hub`` does a model: its folder in the cache, whose name is the commit."""
    return _fetch(repo, None, _ADAPTER, progress)


def _fetch(repo: str, revision: str | None, kind: _Kind, progress: Progress) -> Path:
    with _explain(repo, revision):
        try:
            return _download(repo, revision, kind, progress)
        except (OfflineModeIsEnabled, ConnectionError, HTTPError, LocalEntryNotFoundError) as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
                raise
            folder = _find_cached(repo, revision, kind, error)
            progress.note(
                f"The hub cannot be reached; using {repo} at commit {folder.name[:12]} from the cache."
            )
            return folder


def _download(repo: str, revision: str | None, kind: _Kind, progress: Progress) -> Path:
    info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    commit = info.sha or ""
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    if kind.config not in sizes:
        kind.refuse(repo, sizes)
    # By its given name, not by its commit, the first download also records in the cache which commit the name
    # stands for: that is how a later offline run finds it.
    folder = Path(hf_hub_download(repo, kind.config, revision=revision)).parent
    if folder.name != commit:
        commit = folder.name
        info = HfApi().model_info(repo, revision=commit, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    small = [name for name in (*REQUIRED_FILES, *OPTIONAL_FILES, TEMPLATE_FILE, CARD_FILE) if name in sizes]
    small += [name for name in sizes if name.startswith(f"{TEMPLATE_FOLDER}/") and name.endswith(".jinja")]
    weights = kind.weights(repo, folder, sizes, commit)
    # Weights last: a cache that has all of them has every small file too.
    names = [*small, *weights]
    progress.start(f"Downloading {repo}", sum(sizes[name] for name in names), "bytes")
    for name in names:
        hf_hub_download(repo, name, revision=commit, tqdm_class=forward_bytes(progress, sizes[name]))
    return folder


def _find_cached(repo: str, revision: str | None, kind: _Kind, cause: Exception) -> Path:
    """The cached snapshot of ``revision``. Re-raises ``cause`` if there is none, or if it lacks weights."""
    try:
        folder = Path(snapshot_download(repo, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise cause from None
    if not kind.is_whole(folder):
        raise cause
    return folder


def _model_weights(repo: str, folder: Path, sizes: Mapping[str, int], commit: str) -> list[str]:
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
    return weights


def _adapter_weights(repo: str, folder: Path, sizes: Mapping[str, int], commit: str) -> list[str]:
    if ADAPTER_WEIGHTS not in sizes:
        refuse_pickled(repo, list(sizes))
    return [ADAPTER_WEIGHTS]


def _is_whole_model(folder: Path) -> bool:
    if (folder / INDEX_FILE).is_file():
        names = set(shard_names(folder / INDEX_FILE).values())
    else:
        names = {SINGLE_FILE}
    return all((folder / name).is_file() for name in {"config.json", "tokenizer.json", *names})


def _is_whole_adapter(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS))


def _refuse_no_model(repo: str, sizes: Mapping[str, int]) -> None:
    _refuse_gguf(repo, sizes)
    if ADAPTER_CONFIG in sizes:
        raise SourceError(
            f"{repo}: is an adapter, not a model",
            hint=f"Compile the model it was trained on, with --adapter {repo}.",
        )
    raise SourceError(f"{repo}: has no config.json", hint="It is not a transformers model repository.")


def _refuse_no_adapter(repo: str, sizes: Mapping[str, int]) -> None:
    raise SourceError(
        f"{repo}: has no {ADAPTER_CONFIG}",
        hint="--adapter takes what PEFT saves; a whole model is compiled as SOURCE.",
    )


def _refuse_gguf(repo: str, names: Collection[str]) -> None:
    ggufs = sorted(name for name in names if name.endswith(".gguf"))
    if ggufs:
        raise UnsupportedError(
            f"{repo}: holds GGUF files and no safetensors: {', '.join(ggufs[:3])}",
            hint=f"Download one (hf download {repo} {ggufs[0]}) and give its path.",
        )


_MODEL = _Kind("config.json", _model_weights, _refuse_no_model, _is_whole_model)
_ADAPTER = _Kind(ADAPTER_CONFIG, _adapter_weights, _refuse_no_adapter, _is_whole_adapter)


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
