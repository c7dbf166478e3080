"""Shows a catalog of published bundles for ``mlcweb list --catalog``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlcweb.cli.output import Output
from mlcweb.errors import PublishError
from mlcweb.numbers import count, size

if TYPE_CHECKING:
    from mlcweb.contract.catalog import CatalogModel


def show_catalog(output: Output, where: str, words: Sequence[str], quants: Sequence[str]) -> None:
    """The models with each of ``words`` in their name, source, family or licence, and of one of ``quants``."""
    from mlcweb.publish.load_catalog import load_catalog

    every = load_catalog(where)["models"]
    models = [model for model in every if _matches(model, words) and (not quants or _quant(model) in quants)]
    if every and not models:
        asked = " and ".join(map(repr, [*words, *quants]))
        raise PublishError(
            f"no model of {where} has {asked}", hint="Without words, `mlcweb list` shows them all."
        )
    models.sort(key=lambda model: (model["family"], model["parameters"], model["id"].lower()))
    output.data({"catalog": where, "models": models}, lambda: _text(output, models))
    if not every:
        output.note("the catalog is empty")


def _quant(model: CatalogModel) -> str:
    return model["quantization"]


def _matches(model: CatalogModel, words: Sequence[str]) -> bool:
    said = f"{model['id']} {model['family']} {model['model']} {model['licence']}".lower()
    return all(word.lower() in said for word in words)


def _text(output: Output, models: Sequence[CatalogModel]) -> None:
    """GPU memory is the best tier's, at 1024 and 4096 tokens and the longest context."""
    columns = ["FAMILY", "NAME", "FOR", "PARAMETERS", "DOWNLOAD", "GPU 1K", "GPU 4K", "GPU", "CONTEXT"]
    columns += ["SAME TOKENS", "TIERS", "LICENCE"]
    rows, family = [], ""
    for model in models:
        memory = {one["context"]: one["bytes"] for one in model["tiers"][0]["memory"]}
        quality = model.get("quality")
        same = f"{100 * quality['same_tokens'] / quality['tokens']:.0f} %" if quality else "-"
        sizes = [size(memory[at]) if at in memory else "-" for at in (1024, 4096, model["context_length"])]
        task = model.get("task", "chat, pictures" if model.get("images") else "chat")
        row = [model["family"] if model["family"] != family else "", model["id"], task]
        row += [count(model["parameters"]), size(model["bytes"]), *sizes, str(model["context_length"]), same]
        rows.append([*row, ", ".join(tier["name"] for tier in model["tiers"]), model["licence"] or "-"])
        family = model["family"]
    if rows:
        output.table(columns, rows)
