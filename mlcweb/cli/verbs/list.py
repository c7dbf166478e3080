"""``mlcweb list`` lists the models that have a name here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from mlcweb.cli.options import DIST, built_bundles, verb
from mlcweb.cli.output import Output
from mlcweb.numbers import count, size

if TYPE_CHECKING:
    from mlcweb.recipes import Recipe

SHOWN = ("q4f16_1", "q4f16_e8")


@verb("list")
@click.argument("words", metavar="[WORD]...", nargs=-1)
@click.option(
    "--quant",
    "quants",
    multiple=True,
    metavar="NAME",
    help="Show sizes in this quantization, or a catalog's models of it; may be repeated.",
)
@click.option(
    "--catalog",
    metavar="WHERE",
    help="Show what was published instead: a catalog.json, its URL, or a TARGET of `mlcweb publish`.",
)
def command(output: Output, words: tuple[str, ...], quants: tuple[str, ...], catalog: str | None) -> None:
    """Show the recipes: models that compile by name. With --catalog, the bundles that were published.

    With WORDs, shows the recipes that have each of them in their name, family or Hugging Face id. The column of a
    quantization is the size of its weights, in the bundle and on the GPU. GPU adds a KV cache of CONTEXT tokens.

    \b
    Example:
      mlcweb list
      mlcweb list qwen 0.5b
      mlcweb list llama-3 --quant q4f16_1 --quant q0f16
      mlcweb list --format json
      mlcweb list --catalog https://models.example/catalog.json
    """
    if catalog is not None:
        from mlcweb.cli.catalog_table import show_catalog

        show_catalog(output, catalog, words, quants)
        return
    from mlcweb.quantize import get_scheme
    from mlcweb.recipes import all_recipes

    schemes = [get_scheme(quant) for quant in dict.fromkeys(quants or SHOWN)]
    matching = [recipe for recipe in all_recipes() if _matches(recipe, words)]
    if not matching:
        raise _no_match(words)
    built = built_bundles()
    recipes = [_facts(recipe, schemes, built) for recipe in matching]
    # the smallest of a family first, and families in the order of their names
    recipes.sort(key=lambda r: (r["family"], r["parameters"], r["name"].lower()))
    output.data({"recipes": recipes}, lambda: _text(output, recipes, [scheme.name for scheme in schemes]))


def _matches(recipe: Recipe, words: Sequence[str]) -> bool:
    said = f"{recipe.name} {recipe.family} {recipe.source}".lower()
    return all(word.lower() in said for word in words)


def _no_match(words: Sequence[str]) -> Exception:
    from mlcweb.errors import RecipeError

    return RecipeError(
        f"no recipe has {' and '.join(map(repr, words))} in its name, family or Hugging Face id",
        hint="`mlcweb list` shows them all; `mlcweb compile` takes any Hugging Face id, folder or .gguf file.",
    )


def _facts(recipe: Recipe, schemes: Sequence[Any], built: Sequence[str]) -> dict[str, Any]:
    from mlcweb.footprint import footprints
    from mlcweb.kernel_cache import open_cache

    taken = footprints(
        recipe.config, schemes, recipe.context_length, recipe.kv_cache_dtype, open_cache(), recipe.task
    )
    bundles = [name for name in built if name.startswith(f"{recipe.bundle_name}-")]
    return {
        "name": recipe.name,
        "source": recipe.source,
        "family": recipe.family,
        "parameters": taken[schemes[0].name].parameters,
        "context_length": recipe.context_length,
        "licence": recipe.licence,
        "gated": recipe.gated,
        "sizes": {
            name: {"weights": t.weights, "kv_cache": t.kv_cache, "gpu": t.gpu} for name, t in taken.items()
        },
        "bundles": bundles,
        "same_tokens": {name: _same(name) for name in bundles},
    }


def _same(name: str) -> float | None:
    """The share of its source's most likely tokens that a bundle keeps; None where its manifest does not say."""
    from mlcweb.bundle import open_bundle, same_share
    from mlcweb.errors import BundleError

    try:
        quality = open_bundle(DIST / name).manifest.quality
    except BundleError:
        return None
    return same_share(quality) if quality else None


def _said(bundle: str, same: float | None) -> str:
    return bundle if same is None else f"{bundle} ({100 * same:.0f} % same tokens)"


def _text(output: Output, recipes: Sequence[Mapping[str, Any]], quants: Sequence[str]) -> None:
    columns = ["FAMILY", "NAME", "PARAMETERS"]
    for quant in quants:
        columns += [quant.upper(), "GPU"]
    columns += ["CONTEXT", "HUGGING FACE ID", "LICENCE"]
    built = any(recipe["bundles"] for recipe in recipes)
    rows, family = [], ""
    for recipe in recipes:
        row = [recipe["family"] if recipe["family"] != family else "", recipe["name"]]
        row.append(count(recipe["parameters"]))
        for quant in quants:
            taken = recipe["sizes"][quant]
            row += [size(taken["weights"]), size(taken["gpu"])]
        licence = recipe["licence"].split(":")[0] + (" (gated)" if recipe["gated"] else "")
        row += [str(recipe["context_length"]), recipe["source"], licence]
        rows.append([*row, ", ".join(_said(*one) for one in recipe["same_tokens"].items())] if built else row)
        family = recipe["family"]
    output.table([*columns, "IN DIST/"] if built else columns, rows)
    output.note("any Hugging Face id, folder or .gguf file of a supported architecture compiles too")
