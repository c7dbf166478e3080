"""Reads models.toml: models, each by quantizations and adapters, as one task for each bundle."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlcweb.build.task import Publishing, Task
from mlcweb.compile.request import CompileRequest
from mlcweb.errors import BuildError, RecipeError
from mlcweb.recipes import find_recipe
from mlcweb.toml_file import check_table, read_toml


@dataclass(frozen=True)
class _Model:
    """A table of ``[[models]]``; what is not said here is said at ``CompileRequest``.

    ``quantizations``: a bundle for each; the file's, or one that suits the model, without them. ``adapters``: also a
    bundle for each of these LoRA adapters, and without ``base`` only those. ``name``: the bundles' name before the
    adapter and the quantization.
    """

    source: str
    name: str | None = None
    quantizations: list[str] = field(default_factory=list)
    adapters: list[str] = field(default_factory=list)
    base: bool = True
    context_length: int | None = None
    prefill_chunk: int | None = None
    kv_cache_dtype: str | None = None
    tiers: list[str] = field(default_factory=list)
    revision: str | None = None
    source_kind: str = "auto"
    matrix: bool | None = None
    images: bool = True
    scales: str | None = None
    calibrate: str | None = None
    evaluate: bool = True


@dataclass(frozen=True)
class _Top:
    models: list[dict[str, Any]]
    out: str = "dist"
    target: str | None = None
    endpoint_url: str | None = None
    public_url: str | None = None
    validate: bool = True
    quantizations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ModelsFile:
    """What a file asks for; ``publishing`` is None where it names no target."""

    path: Path
    out: Path
    publishing: Publishing | None
    validate: bool
    tasks: tuple[Task, ...]


def read_models(path: Path) -> ModelsFile:
    """Raises BuildError naming the field that is wrong. Paths in the file start at its folder."""
    table = read_toml(path, BuildError)
    top = _Top(**check_table(path, table, _Top, "", BuildError))
    _check_strings(path, "quantizations", top.quantizations)
    if not top.models:
        raise BuildError(f"{path} lists no models", hint='Add one: [[models]] and source = "Llama-3.2-1B".')
    publishing = None
    if top.target:
        publishing = Publishing(_target(path, top.target), top.endpoint_url, top.public_url)
    elif top.endpoint_url or top.public_url:
        raise BuildError(f"{path}: endpoint_url and public_url belong to a target, and there is none")
    tasks: list[Task] = []
    for i, entry in enumerate(top.models):
        if not isinstance(entry, dict):
            raise BuildError(f"{path}: models[{i}] is {entry!r}, expected a table")
        tasks += _tasks(path, i, entry, top)
    again = [label for label, count in Counter(task.label for task in tasks).items() if count > 1]
    if again:
        raise BuildError(
            f"{path} lists {again[0]} more than once", hint="Give one of them a name, or take it out."
        )
    return ModelsFile(path, path.parent / Path(top.out).expanduser(), publishing, top.validate, tuple(tasks))


def _tasks(path: Path, index: int, entry: dict[str, Any], top: _Top) -> list[Task]:
    where = f"models[{index}]."
    model = _Model(**check_table(path, entry, _Model, where, BuildError))
    for key in ("quantizations", "adapters", "tiers"):
        _check_strings(path, where + key, getattr(model, key))
    adapters: list[str | None] = [None] if model.base else []
    adapters += [_found(path, adapter) for adapter in model.adapters]
    if not adapters:
        raise BuildError(f"{path}: {where}base is false, and there are no adapters", hint="Name one.")
    quantizations: list[str | None] = [*(model.quantizations or top.quantizations)]
    source = model.source if _is_recipe(model.source) else _found(path, model.source)
    tasks = []
    for adapter in adapters:
        for quantization in quantizations or [None]:
            request = CompileRequest(
                source=source,
                quantization=quantization,
                context_length=model.context_length,
                prefill_chunk=model.prefill_chunk,
                kv_cache_dtype=model.kv_cache_dtype,
                tiers=tuple(model.tiers) or None,
                revision=model.revision,
                source_kind=model.source_kind,
                adapter=adapter,
                matrix=model.matrix,
                images=model.images,
                scales=model.scales,
                calibrate=path.parent / model.calibrate if model.calibrate else None,
                evaluate=model.evaluate,
            )
            tasks.append(Task(_label(model, adapter, quantization), model.name, request))
    return tasks


def _label(model: _Model, adapter: str | None, quantization: str | None) -> str:
    """What a bundle is called before its name is known, which needs the checkpoint."""
    parts = [model.name or model.source.rstrip("/").split("/")[-1]]
    if adapter is not None:
        parts.append(adapter.rstrip("/").split("/")[-1])
    if quantization is not None:
        parts.append(quantization)
    return "-".join(parts)


def _is_recipe(source: str) -> bool:
    try:
        find_recipe(source)
    except RecipeError:
        return False
    return True


def _found(path: Path, value: str) -> str:
    """A path from the file's folder, where there is one; else the value, which may be a model on the hub."""
    near = path.parent / Path(value).expanduser()
    return str(near.absolute()) if near.exists() else value


def _target(path: Path, target: str) -> str:
    return target if "://" in target else str((path.parent / Path(target).expanduser()).absolute())


def _check_strings(path: Path, key: str, values: list[Any]) -> None:
    for value in values:
        if type(value) is not str or not value:
            raise BuildError(f"{path}: {key} has {value!r}, expected strings")
