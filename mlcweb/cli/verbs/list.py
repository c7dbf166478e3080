"""``mlcweb list``: the models that have a name here."""

from __future__ import annotations

from typing import Any

from mlcweb.cli.options import built_bundles, verb
from mlcweb.cli.output import Output


@verb("list")
def command(output: Output) -> None:
    """Show the recipes, models that compile by name.

    \b
    Example:
      mlcweb list
      mlcweb list --format json
    """
    from mlcweb.recipes import all_recipes

    built = built_bundles()
    recipes: list[dict[str, Any]] = [
        {
            "name": recipe.name,
            "source": recipe.source,
            "family": recipe.family,
            "quantization": recipe.quantization,
            "context_length": recipe.context_length,
            "prefill_chunk": recipe.prefill_chunk,
            "licence": recipe.licence,
            "gated": recipe.gated,
            "bundles": [name for name in built if name.startswith(f"{recipe.bundle_name}-")],
        }
        for recipe in all_recipes()
    ]

    def text() -> None:
        columns = ("NAME", "QUANT", "CONTEXT", "LICENCE", "SOURCE", "IN DIST/")
        rows = [
            (
                r["name"],
                r["quantization"],
                str(r["context_length"]),
                r["licence"].split(":")[0] + (" (gated)" if r["gated"] else ""),
                r["source"],
                ", ".join(r["bundles"]),
            )
            for r in recipes
        ]
        output.table(columns, rows)
        output.note("any Hugging Face id, folder or .gguf file of a supported architecture compiles too")

    output.data({"recipes": recipes}, text)
