"""Checks catalog.json: against the JSON Schema, then by the rules that a schema cannot say."""

from __future__ import annotations

from typing import Any

from mlcweb.bundle.check import check_schema, decode_json
from mlcweb.contract.catalog import Catalog, CatalogModel
from mlcweb.contract.constants import CATALOG_FORMAT, CATALOG_NAME, CATALOG_VERSION
from mlcweb.errors import BundleError


def read_catalog(text: bytes, file: str = CATALOG_NAME) -> Catalog:
    """A catalog, trusting nothing in it. Raises BundleError naming ``file`` and the field."""
    data: Any = decode_json(text, file)
    if isinstance(data, dict) and data.get("format") == CATALOG_FORMAT:
        version = data.get("version")
        if isinstance(version, int) and version != CATALOG_VERSION:
            raise BundleError(
                f"{file}: version: this mlcweb reads catalogs of version {CATALOG_VERSION}, not {version}",
                hint="Use an mlcweb that is as new as the one that wrote it.",
            )
    check_schema(data, "catalog", file)
    catalog: Catalog = data
    ids: set[str] = set()
    for i, model in enumerate(catalog["models"]):
        _check_model(model, f"{file}: models[{i}]", ids)
    return catalog


def _check_model(model: CatalogModel, at: str, ids: set[str]) -> None:
    if model["id"] in ids:
        raise BundleError(f"{at}.id: {model['id']!r} occurs twice")
    ids.add(model["id"])
    quality = model.get("quality")
    if quality and quality["same_tokens"] > quality["tokens"]:
        raise BundleError(f"{at}.quality.same_tokens: {quality['same_tokens']} of {quality['tokens']}")
    tiers: set[str] = set()
    for k, tier in enumerate(model["tiers"]):
        if tier["name"] in tiers:
            raise BundleError(f"{at}.tiers[{k}].name: {tier['name']!r} occurs twice")
        tiers.add(tier["name"])
        before = 0
        for j, memory in enumerate(tier["memory"]):
            if not before < memory["context"] <= model["context_length"]:
                raise BundleError(f"{at}.tiers[{k}].memory[{j}].context: out of order or too long")
            before = memory["context"]
