"""Makes a bundle's entry of the catalog, and puts it into the catalog that is at the target."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from urllib.parse import quote

from mlcweb.bundle.inspect import gpu_memory
from mlcweb.contract.catalog import Catalog, CatalogModel, CatalogTier
from mlcweb.contract.constants import (
    CATALOG_FORMAT,
    CATALOG_NAME,
    CATALOG_VERSION,
    MAX_CATALOG_BYTES,
    MAX_CATALOG_MODELS,
    MAX_LABEL_CHARACTERS,
    UNPRINTABLE,
)
from mlcweb.errors import BundleError, PublishError
from mlcweb.publish.bundle_files import LocalBundle
from mlcweb.publish.catalog_check import read_catalog
from mlcweb.publish.target import Found

CONTEXTS = (1024, 4096)


def catalog_model(local: LocalBundle) -> CatalogModel:
    """The bundle's entry. Raises BundleError for a damaged plan."""
    manifest, facts = local.manifest, local.manifest.model
    longest = facts.context_length
    contexts = [*(context for context in CONTEXTS if context < longest), longest]
    tiers: list[CatalogTier] = []
    for tier in manifest.tiers:
        plan = local.bundle.plan(tier.name)
        tiers.append(
            {
                "name": tier.name,
                "features": list(tier.features),
                "limits": dict(tier.limits),
                "memory": [
                    {"context": context, "bytes": gpu_memory(plan, context, facts.page_size)["total"]}
                    for context in contexts
                ],
            }
        )
    model: CatalogModel = {
        "id": manifest.name,
        "model": _text(facts.source.get("id") or facts.source.get("name") or manifest.name),
        "family": _text(facts.family),
        "quantization": facts.quantization,
        "parameters": facts.parameters,
        "context_length": longest,
        "bytes": len(local.text) + sum(file.entry.bytes for file in local.files),
        "tiers": tiers,
        "licence": _text(facts.licence),
        "manifest_sha256": local.sha256,
        "url": f"{quote(manifest.name, safe='~')}/",
    }
    if manifest.embedding or manifest.reranking:
        model["task"] = "embed" if manifest.embedding else "rerank"
    if manifest.images:
        model["images"] = True
    if manifest.quality:
        quality = manifest.quality
        model["quality"] = {
            "tokens": quality.tokens,
            "same_tokens": quality.same_tokens,
            "kl_micronats": quality.kl_micronats,
        }
    return model


def merged(found: Found | None, models: Sequence[CatalogModel], where: str) -> bytes | None:
    """The catalog with these models in the place of those with their ids; None where it has them already.

    Raises PublishError for one that is damaged, newer than this mlcweb, or full.
    """
    try:
        there: list[CatalogModel] = read_catalog(found.data, where)["models"] if found else []
    except BundleError as error:
        raise PublishError(
            error.message,
            hint="Repair or move it away, or leave it alone with --no-catalog. "
            "Publishing every bundle again writes a new one.",
        ) from error
    by_id = {model["id"]: model for model in there}
    if found and all(by_id.get(model["id"]) == model for model in models):
        return None
    by_id.update({model["id"]: model for model in models})
    catalog: Catalog = {
        "format": CATALOG_FORMAT,
        "version": CATALOG_VERSION,
        "models": [by_id[name] for name in sorted(by_id)],
    }
    text = (json.dumps(catalog, indent=1, ensure_ascii=False) + "\n").encode()
    if len(by_id) > MAX_CATALOG_MODELS or len(text) > MAX_CATALOG_BYTES:
        raise PublishError(
            f"{where} is full: {len(by_id)} models, {len(text)} bytes", hint="Publish to another target."
        )
    read_catalog(text, CATALOG_NAME)
    return text


def _text(value: str) -> str:
    """A text for the catalog, which has nothing that terminals obey."""
    return re.sub(f"[{UNPRINTABLE}]", " ", value)[:MAX_LABEL_CHARACTERS]
