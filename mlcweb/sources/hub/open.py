"""Downloads models and adapters from the hub, by its own library and cache (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE)."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError, which it only imports
    HfHubHTTPError,
    HTTPError,  # the HTTP client's: httpx in version 1, httpx2 in version 2
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from mlcweb.errors import CheckpointError, SourceError, UnsupportedError
from mlcweb.progress import Progress
from mlcweb.sources.adapter.files import CONFIG_FILE as ADAPTER_CONFIG
from mlcweb.sources.adapter.files import WEIGHTS_FILE as ADAPTER_WEIGHTS
from mlcweb.sources.adapter.files import refuse_pickled
from mlcweb.sources.added_tokens import ADDED_TOKENS_FILE
from mlcweb.sources.checkpoint import Checkpoint
from mlcweb.sources.directory import BOTH_NOTE, INDEX_FILE, SINGLE_FILE, open_directory, shard_names
from mlcweb.sources.hub.client import HubBusy, HubClient, NotTheHub
from mlcweb.sources.hub.errors import explained
from mlcweb.sources.hub.gguf import choose, is_complete, models_in
from mlcweb.sources.hub.name import HubName
from mlcweb.sources.licence import CARD_FILE
from mlcweb.sources.preprocessor import PREPROCESSOR_FILES
from mlcweb.sources.sentence_transformers import is_module_weights, is_small_file
from mlcweb.sources.tokenizer_files import OPTIONAL_FILES, REQUIRED_FILES, TEMPLATE_FILE, TEMPLATE_FOLDER
from mlcweb.words import quoted

_SMALL_FILES = (
    *REQUIRED_FILES,
    *OPTIONAL_FILES,
    ADDED_TOKENS_FILE,
    TEMPLATE_FILE,
    CARD_FILE,
    *PREPROCESSOR_FILES,
)


@dataclass(frozen=True)
class _Found:
    """A folder in the cache; ``gguf`` is the first file in it of the model, if that is in GGUF."""

    folder: Path
    gguf: str | None = None


@dataclass(frozen=True)
class _Kind:
    """What is fetched of a repository.

    ``config`` is the file without which it is another kind of repository, as ``refuse`` explains. ``weights``
    names the files of weights, given the client, the folder with ``config`` in it, all files' sizes and the
    commit; it raises where there are none. ``is_whole``: a cached folder lacks nothing. ``ggufs``: it may be a
    model in GGUF instead.
    """

    config: str
    weights: Callable[[HubClient, Path, Mapping[str, int], str], list[str]]
    refuse: Callable[[str, Mapping[str, int]], None]
    is_whole: Callable[[Path], bool]
    ggufs: bool


def open_hub(named: HubName, *, images: bool = True, progress: Progress) -> Checkpoint:
    """Download what a compile needs of a repository, and open it: safetensors, or the file in GGUF that is named.

    The revision is resolved to a commit, which is recorded. When the hub cannot be reached, what an earlier
    run cached is used, and noted. ``images`` is ``open_directory``'s. Raises SourceError with what to do about it.
    """
    snapshot = _fetch(named, _MODEL, progress)
    source = {"kind": "hub", "id": named.repo, "revision": snapshot.folder.name}
    if snapshot.gguf is None:
        return open_directory(snapshot.folder, source=source, images=images, progress=progress)
    from mlcweb.sources.gguf.open import open_gguf

    return open_gguf(
        snapshot.folder / snapshot.gguf, source={**source, "file": snapshot.gguf}, progress=progress
    )


def fetch_adapter(named: HubName, *, progress: Progress) -> Path:
    """Download an adapter, as ``open_hub`` does a model: its folder in the cache, whose name is the commit."""
    return _fetch(named, _ADAPTER, progress).folder


def _fetch(named: HubName, kind: _Kind, progress: Progress) -> _Found:
    with explained(named.repo, named.revision):
        cached = _find_cached(named, kind)
        client = HubClient(named.repo, progress, patient=cached is None)
        try:
            return _download(client, named, kind, progress)
        except (
            *(OfflineModeIsEnabled, ConnectionError, HTTPError, LocalEntryNotFoundError),
            *(HubBusy, NotTheHub),
        ) as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
                raise
            # what this run downloaded before it failed counts too
            cached = cached or _find_cached(named, kind)
            if cached is None:
                raise
            why = f"is busy ({error})" if isinstance(error, HubBusy) else "cannot be reached"
            progress.note(
                f"The hub {why}; using {named.repo} at commit {cached.folder.name[:12]} from the cache."
            )
            return cached


def _download(client: HubClient, named: HubName, kind: _Kind, progress: Progress) -> _Found:
    commit, sizes = client.listing(named.revision)
    if kind.ggufs and _means_gguf(named, sizes):
        return _download_gguf(client, named, sizes, commit, progress)
    if kind.config not in sizes:
        kind.refuse(named.repo, sizes)
    # By its given name, not by its commit, the first download also records in the cache which commit the name
    # stands for: that is how a later offline run finds it.
    folder = client.download(kind.config, named.revision).parent
    if folder.name != commit:
        commit = folder.name
        _, sizes = client.listing(commit)
    small = [name for name in _SMALL_FILES if name in sizes]
    small += [name for name in sizes if name.startswith(f"{TEMPLATE_FOLDER}/") and name.endswith(".jinja")]
    small += [name for name in sizes if is_small_file(name)]
    weights = kind.weights(client, folder, sizes, commit)
    if SINGLE_FILE in weights and INDEX_FILE in sizes:
        progress.note(BOTH_NOTE.format(named.repo))
    # Weights last: a cache that has all of them has every small file too.
    names = [*small, *weights]
    progress.start(f"Downloading {named.repo}", sum(sizes[name] for name in names), "bytes")
    for name in names:
        client.download(name, commit, sizes[name])
    return _Found(folder)


def _means_gguf(named: HubName, names: Collection[str]) -> bool:
    """Whether a model in GGUF is named, or there is no other."""
    others = any(name in names for name in (SINGLE_FILE, INDEX_FILE, ADAPTER_CONFIG))
    return bool(named.file or named.quant) or (not others and bool(models_in(names)))


def _download_gguf(
    client: HubClient, named: HubName, sizes: Mapping[str, int], commit: str, progress: Progress
) -> _Found:
    files = choose(named, sizes)
    if not is_complete(files):
        raise SourceError(
            f"{named.repo}: holds only {len(files)} parts of {files[0]}", hint="Name another file."
        )
    progress.start(f"Downloading {named.repo}", sum(sizes[name] for name in files), "bytes")
    # by its given revision first, as a config.json is
    first = client.download(files[0], named.revision, sizes[files[0]])
    depth = files[0].count("/")
    folder = first.parents[depth]
    for name in files[1:]:
        client.download(name, folder.name, sizes[name])
    return _Found(folder, files[0])


def _find_cached(named: HubName, kind: _Kind) -> _Found | None:
    """The cached snapshot of the revision, if it lacks nothing."""
    try:
        folder = Path(snapshot_download(named.repo, revision=named.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    try:
        if kind.ggufs and _means_gguf(named, names):
            files = choose(named, names)
            return _Found(folder, files[0]) if is_complete(files) else None
        return _Found(folder) if kind.is_whole(folder) else None
    except (SourceError, CheckpointError):  # it is not among what was downloaded, or its index is damaged
        return None


def _model_weights(client: HubClient, folder: Path, sizes: Mapping[str, int], commit: str) -> list[str]:
    """In transformers' order, as a folder is read."""
    repo = client.repo
    if SINGLE_FILE in sizes:
        weights = [SINGLE_FILE]
    elif INDEX_FILE in sizes:
        client.download(INDEX_FILE, commit)
        weights = sorted(set(shard_names(folder / INDEX_FILE).values()))
    elif any(name.startswith("pytorch_model") for name in sizes):
        raise UnsupportedError(
            f"{repo}: holds only pickled weights (pytorch_model.bin), which mlcweb does not load",
            hint="Convert them: AutoModelForCausalLM.from_pretrained(...).save_pretrained(folder).",
        )
    else:
        raise SourceError(f"{repo}: has no {SINGLE_FILE} and no {INDEX_FILE}")
    missing = [name for name in weights if name not in sizes]
    if missing:
        raise CheckpointError(f"{repo}: {INDEX_FILE} names {missing[0]}, which the repository does not hold")
    return [*(name for name in sizes if is_module_weights(name)), *weights]


def _adapter_weights(client: HubClient, folder: Path, sizes: Mapping[str, int], commit: str) -> list[str]:
    if ADAPTER_WEIGHTS not in sizes:
        refuse_pickled(client.repo, list(sizes))
    return [ADAPTER_WEIGHTS]


def _is_whole_model(folder: Path) -> bool:
    if (folder / INDEX_FILE).is_file() and not (folder / SINGLE_FILE).is_file():
        names = set(shard_names(folder / INDEX_FILE).values())
    else:
        names = {SINGLE_FILE}
    return all(os.path.isfile(folder / name) for name in {"config.json", "tokenizer.json", *names})


def _is_whole_adapter(folder: Path) -> bool:
    return all(os.path.isfile(folder / name) for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS))


def _refuse_no_model(repo: str, sizes: Mapping[str, int]) -> None:
    if ADAPTER_CONFIG in sizes:
        raise SourceError(
            f"{repo}: is an adapter, not a model",
            hint=f"Compile the model it was trained on, with --adapter {quoted(repo)}.",
        )
    raise SourceError(f"{repo}: has no config.json", hint="It is not a transformers model repository.")


def _refuse_no_adapter(repo: str, sizes: Mapping[str, int]) -> None:
    raise SourceError(
        f"{repo}: has no {ADAPTER_CONFIG}",
        hint="--adapter takes what PEFT saves; a whole model is compiled as SOURCE.",
    )


_MODEL = _Kind("config.json", _model_weights, _refuse_no_model, _is_whole_model, ggufs=True)
_ADAPTER = _Kind(ADAPTER_CONFIG, _adapter_weights, _refuse_no_adapter, _is_whole_adapter, ggufs=False)
