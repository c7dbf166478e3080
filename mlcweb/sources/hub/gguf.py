"""Picks the GGUF file of a repository: the one of a quantization, the one named, or the only one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mlcweb.errors import SourceError
from mlcweb.sources.hub.name import HubName

_SPLIT = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
# The quantization in a file's name, as llama.cpp's tools write it: Q4_K_M, IQ4_XS, BF16, with makers' prefixes.
_QUANT = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d\w*|TQ\d_\d|BF16|FP?16|FP?32|MXFP4\w*))(?=[-._/]|$)", re.IGNORECASE
)
_NO_MODELS = re.compile(r"(^|[-._/])(mmproj|imatrix)", re.IGNORECASE)
_LISTED = 12


def models_in(names: Iterable[str]) -> dict[str, list[str]]:
    """The models in GGUF among a repository's files: the files of each, by its name without part numbers."""
    models: dict[str, list[str]] = {}
    for name in sorted(names):
        if name.lower().endswith(".gguf") and not _NO_MODELS.search(name):
            match = _SPLIT.fullmatch(name)
            models.setdefault(f"{match['stem']}.gguf" if match else name, []).append(name)
    return models


def is_complete(files: list[str]) -> bool:
    """Whether all parts of a model are among its files."""
    match = _SPLIT.fullmatch(files[0])
    return match is None or len(files) == int(match["count"])


def choose(named: HubName, names: Iterable[str]) -> list[str]:
    """The files of the model in GGUF that ``named`` means, of the files ``names`` in its repository.

    Raises SourceError with what there is to give instead.
    """
    repo, models = named.repo, models_in(names)
    if named.file:
        for files in models.values():
            if named.file in files:
                return files
        raise SourceError(f"{repo}: has no file {named.file}", hint=_instead(repo, models))
    if named.quant and not models:
        raise SourceError(
            f"{repo}: has no GGUF files, so :{named.quant} names none",
            hint=f"Give {repo}, and the quantization with --quant.",
        )
    chosen = _of_quant(models, named.quant) if named.quant else list(models)
    if len(chosen) == 1:
        return models[chosen[0]]
    if named.quant and chosen:
        raise SourceError(
            f"{repo}: has several GGUF files of {named.quant}: {', '.join(chosen[:_LISTED])}",
            hint=f"Give one by its name: {repo}:{chosen[0]}",
        )
    if named.quant:
        raise SourceError(f"{repo}: has no GGUF file of {named.quant}", hint=_instead(repo, models))
    raise SourceError(f"{repo}: has {len(models)} GGUF files and no safetensors", hint=_instead(repo, models))


def _of_quant(models: dict[str, list[str]], quant: str) -> list[str]:
    """The names whose quantization it is; else those that have it as a word in them."""
    upper = quant.upper()
    exact = [name for name in models if _quant_of(name) == upper]
    word = re.compile(rf"(?:^|[-._/]){re.escape(upper)}(?=[-._/]|$)")
    return exact or [name for name in models if word.search(name.upper())]


def _quant_of(name: str) -> str:
    matches = _QUANT.findall(name[: -len(".gguf")])
    return str(matches[-1]).upper() if matches else ""


def _instead(repo: str, models: dict[str, list[str]]) -> str:
    quants = {name: _quant_of(name) for name in models}
    # a quantization that two files have picks neither
    said = [q if q and list(quants.values()).count(q) == 1 else name for name, q in quants.items()]
    if not said:
        return f"Give {repo}."
    more = f" and {len(said) - _LISTED} more" if len(said) > _LISTED else ""
    return f"Give one of them: {', '.join(f'{repo}:{pick}' for pick in said[:_LISTED])}{more}."
