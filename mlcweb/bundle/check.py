"""Checks a manifest: against the JSON Schema, then by the rules that a schema cannot say."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import best_match  # type: ignore[import-untyped]

from mlcweb.contract.constants import (
    DTYPE_BYTES,
    FORMAT,
    HASH_DIGITS,
    MAX_CHUNK_BYTES,
    MAX_SMALL_FILE_BYTES,
    TENSOR_ALIGNMENT,
    VERSION,
)
from mlcweb.errors import BundleError


@cache
def _validator(schema: str) -> Any:
    file = resources.files("mlcweb.contract").joinpath(f"schemas/{schema}.schema.json")
    return Draft202012Validator(json.loads(file.read_text(encoding="utf-8")))


def decode_json(text: bytes, file: str, *, fractions: bool = False) -> Any:
    """JSON that every reader understands alike: UTF-8, no repeated keys, finite numbers, no integer as a fraction.

    ``fractions``: numbers that need be no integers. Raises BundleError naming ``file``.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            names = [name for name, _ in pairs]
            repeated = next(name for name in names if names.count(name) > 1)
            raise BundleError(f"{file}: the key {repeated!r} occurs twice in one object")
        return values

    def refuse(number: str) -> Any:
        raise BundleError(f"{file}: {number[:40]} is not {'a finite number' if fractions else 'an integer'}")

    def fraction(number: str) -> float:
        value = float(number)  # one that is no integer is for the schema to refuse, which names the field
        return value if math.isfinite(value) and (fractions or not value.is_integer()) else refuse(number)

    try:
        return json.loads(
            text.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse, parse_float=fraction
        )
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{file}: not valid JSON: {str(error) or 'nested too deeply'}",
            hint="The bundle is damaged or incomplete: compile or download it again.",
        ) from error


def check_schema(data: Any, schema: str, file: str) -> None:
    """Validate against a schema of this package. Raises BundleError naming the field."""
    error = best_match(_validator(schema).iter_errors(data))
    if error is not None:
        field = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in error.absolute_path)
        raise BundleError(f"{file}: {field.removeprefix('.')}{': ' if field else ''}{_brief(error.message)}")


def check_manifest(data: Any, file: str) -> None:
    """Everything that a manifest must satisfy by itself, before any other file is opened.

    Raises BundleError naming the field.
    """
    if isinstance(data, dict) and data.get("format") == FORMAT and data.get("version") != VERSION:
        raise BundleError(
            f"{file}: version: this mlcweb reads bundle format {VERSION}, not {_brief(repr(data.get('version')))}",
            hint="Compile the bundle again with this mlcweb, or use the mlcweb that made it.",
        )
    check_schema(data, "manifest", file)

    def fail(field: str, message: str) -> None:
        raise BundleError(f"{file}: {field}: {message}")

    files = data["files"]
    for name, entry in files.items():
        if name.rsplit(".", 2)[1] != entry["sha256"][:HASH_DIGITS]:
            fail(f"files.{name}", "the hash in the name is not the start of its sha256")
    for field, name in _referenced(data):
        if name not in files:
            fail(field, f"{name!r} is not listed in files")
        if not field.startswith("weights.chunks") and files[name]["bytes"] > MAX_SMALL_FILE_BYTES:
            fail(field, f"{name!r} has more than {MAX_SMALL_FILE_BYTES} bytes")

    _check_names("tiers", [tier["name"] for tier in data["tiers"]], fail)
    _check_names("weights.tensors", [tensor["name"] for tensor in data["weights"]["tensors"]], fail)
    _check_model(data, fail)
    if "images" in data:
        _check_images(data["images"], data["model"]["prefill_chunk"], fail)
    if "quality" in data and data["quality"]["same_tokens"] > data["quality"]["tokens"]:
        fail("quality.same_tokens", f"{data['quality']['same_tokens']} of {data['quality']['tokens']}")
    _check_chunks(data["weights"], files, fail)
    _check_tensors(data["weights"], fail)


def _referenced(data: Any) -> list[tuple[str, str]]:
    """(field, file name) for every file the manifest refers to."""
    references = [("wasm", data["wasm"])]
    references += [(f"tokenizer.{key}", data["tokenizer"][key]) for key in ("tokenizer", "config")]
    for i, tier in enumerate(data["tiers"]):
        references += [
            (f"tiers[{i}].{key}", tier[key]) for key in ("plan", "kernels", "relaxed") if key in tier
        ]
    references += [(f"weights.chunks[{i}]", name) for i, name in enumerate(data["weights"]["chunks"])]
    references += [(key, data[key]) for key in ("validation", "config") if key in data]
    return references


def _check_names(field: str, names: list[str], fail: Any) -> None:
    seen: set[str] = set()
    for i, name in enumerate(names):
        if name in seen:
            fail(f"{field}[{i}].name", f"{name!r} occurs twice")
        seen.add(name)


def _check_model(data: Any, fail: Any) -> None:
    model = data["model"]
    if model["heads"] % model["kv_heads"]:
        fail("model.kv_heads", f"{model['heads']} heads cannot share {model['kv_heads']} KV heads evenly")
    for i, token in enumerate(data["tokenizer"]["eos_token_ids"]):
        if token >= model["vocab_size"]:
            fail(f"tokenizer.eos_token_ids[{i}]", f"{token} is outside the vocabulary")
    _check_texts(data, fail)


def _check_texts(data: Any, fail: Any) -> None:
    """A model of whole texts makes embeddings or scores, of texts that fit a call."""
    embedding, model = data.get("embedding"), data["model"]
    if embedding is None and "reranking" not in data:
        return
    if embedding is not None and "reranking" in data:
        fail("reranking", "the bundle has embedding too, and a model makes one of them")
    if model["context_length"] > model["prefill_chunk"]:
        fail("model.prefill_chunk", f"less than a text's {model['context_length']} tokens")
    if embedding is None:
        return
    for i, size in enumerate(embedding.get("matryoshka", [])):
        if size > embedding["dimensions"]:
            fail(f"embedding.matryoshka[{i}]", f"{size} of {embedding['dimensions']} dimensions")
    default = embedding.get("default_prompt")
    if default is not None and default not in embedding.get("prompts", {}):
        fail("embedding.default_prompt", f"{_brief(repr(default))} is none of the prompts")


def _check_images(images: Any, chunk: int, fail: Any) -> None:
    pixels, merge = images.get("pixels"), images["merge"]
    if ("tile" in images) == (pixels is not None):
        fail("images", "needs one of tile and pixels")
    if pixels is None:
        side = images["tile"] // images["patch"]
        if side == 0 or side % merge:
            fail("images.tile", f"has {side} patches a side, which are no blocks of {merge}")
        if "window" in images:
            fail("images.window", "is of pictures that are seen as a whole")
        rows = (side // merge) ** 2
    else:
        if "longest_edge" in images:
            fail("images.longest_edge", "is of pictures that are cut into tiles")
        rows = pixels["most"] // (images["patch"] * merge) ** 2
        if rows == 0 or pixels["least"] > pixels["most"]:
            fail("images.pixels", f"from {pixels['least']} to {pixels['most']} have no room for a row")
    if min(images["std"]) <= 0:
        fail("images.std", "must be above 0")
    if images.get("together") and (rows > chunk or "longest_edge" in images):
        fail("images.together", f"a chunk of {chunk} tokens has no room for a whole picture")


def _check_chunks(weights: Any, files: Any, fail: Any) -> None:
    sizes = [files[name]["bytes"] for name in weights["chunks"]]
    for i, size in enumerate(sizes):
        field = f"weights.chunks[{i}]"
        if not 0 < size <= MAX_CHUNK_BYTES or size % TENSOR_ALIGNMENT:
            fail(
                field,
                f"{size} bytes; a chunk has a multiple of {TENSOR_ALIGNMENT}, at most {MAX_CHUNK_BYTES}",
            )
        last = i == len(sizes) - 1
        if size != sizes[0] and not (last and size < sizes[0]):
            fail(field, f"{size} bytes, but the first has {sizes[0]}: all but the last are equal")
    if sum(sizes) != weights["bytes"]:
        fail("weights.bytes", f"{weights['bytes']}, but the chunks have {sum(sizes)}")


def _check_tensors(weights: Any, fail: Any) -> None:
    for i, tensor in enumerate(weights["tensors"]):
        expected = math.prod(tensor["shape"]) * DTYPE_BYTES[tensor["dtype"]]
        if tensor["bytes"] != expected:
            fail(f"weights.tensors[{i}].bytes", f"{tensor['bytes']}; its shape and dtype make {expected}")
        if tensor["offset"] + tensor["bytes"] > weights["bytes"]:
            fail(f"weights.tensors[{i}].offset", "the tensor ends past the last chunk")
    order = sorted(range(len(weights["tensors"])), key=lambda i: weights["tensors"][i]["offset"])
    end = 0
    for i in order:
        tensor = weights["tensors"][i]
        if tensor["offset"] < end:
            fail(f"weights.tensors[{i}].offset", f"{tensor['offset']} overlaps the tensor before it")
        end = tensor["offset"] + tensor["bytes"]


def _brief(message: str) -> str:
    return message if len(message) <= 200 else message[:200] + "…"
