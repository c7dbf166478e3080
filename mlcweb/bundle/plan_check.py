"""Checks a plan before anything is replayed from it."""

from __future__ import annotations

from typing import Any

from mlcweb.bundle.check import check_schema
from mlcweb.bundle.manifest import Manifest
from mlcweb.contract.constants import (
    DTYPE_BYTES,
    ENTRIES,
    GRID_WORDS,
    Axes,
    Place,
    Sampling,
    Spot,
    State,
)
from mlcweb.contract.manifest import ImageFacts, ModelFacts
from mlcweb.contract.pictures import most_patches
from mlcweb.contract.plan import Plan
from mlcweb.contract.tiers import CPU_TIERS
from mlcweb.errors import BundleError


def check_plan(plan: Any, tier: str, file: str) -> None:
    """The plan's schema, its indices, and that each launch has a buffer for each binding.

    Raises BundleError naming the field.
    """
    check_schema(plan, "plan", file)

    def fail(field: str, message: str) -> None:
        raise BundleError(f"{file}: {field}: {message}")

    if plan["tier"] != tier:
        fail("tier", f"{plan['tier']!r} in the plan of {tier!r}")
    for part in ("buffers", "kernels"):
        names = [item["name"] for item in plan[part]]
        if len(set(names)) != len(names):
            fail(part, "a name occurs twice")
    for i, kernel in enumerate(plan["kernels"]):
        # The engine gives the last binding its uniform, and the launch's buffers to the others.
        if [b == "uniform" for b in kernel["bindings"]] != [False] * (len(kernel["bindings"]) - 1) + [True]:
            fail(f"kernels[{i}].bindings", "the last binding, and only that, is a uniform")
    alone = [row.name for row in ENTRIES if row.texts and row.name in plan["entries"]]
    if alone and len(plan["entries"]) > 1:
        fail("entries", f"{alone[0]} is not alone")
    on_gpu = tier not in CPU_TIERS
    for row in ENTRIES:
        there = row.name in plan["entries"]
        if there and row.gpu and not on_gpu:
            fail("entries", f"{row.name} is for a GPU")
        if row.required and not there and not alone and (on_gpu or not row.gpu):
            fail("entries", f"{row.name} is missing")
    if ("penalize" in plan["entries"]) != ("count" in plan["entries"]):
        fail("entries", "has one of penalize and count alone")
    for row in ENTRIES:
        if row.name not in plan["entries"]:
            continue
        name, entry = row.name, plan["entries"][row.name]
        if entry["dims"] != list(row.dims):
            fail(f"entries.{name}.dims", f"{entry['dims']}, not {list(row.dims)}")
        if ("needs" in entry) != row.needs:
            what = "missing" if row.needs else "an entry that every device of the tier must run"
            fail(f"entries.{name}.needs", what)
        for i, launch in enumerate(entry["launches"]):
            field = f"entries.{name}.launches[{i}]"
            if launch["kernel"] >= len(plan["kernels"]):
                fail(f"{field}.kernel", f"{launch['kernel']}, but there are {len(plan['kernels'])} kernels")
            kernel = plan["kernels"][launch["kernel"]]
            if len(launch["args"]) != len(kernel["bindings"]) - 1:
                fail(f"{field}.args", f"{len(launch['args'])} for {len(kernel['bindings']) - 1} bindings")
            if any(arg >= len(plan["buffers"]) for arg in launch["args"]):
                fail(f"{field}.args", f"an index past the {len(plan['buffers'])} buffers")
            if kernel["uniform_words"] + GRID_WORDS > entry["record_words"]:
                fail(f"entries.{name}.record_words", f"too few for the uniform of {kernel['name']}")


def check_plan_fits(plan: Plan, manifest: Manifest, file: str) -> None:
    """That the plan's weights and layers are the manifest's, and the buffers the engine writes to are large enough.

    Takes a plan that ``check_plan`` accepts. Raises BundleError naming the field.
    """
    stored = {tensor.name: tensor.bytes for tensor in manifest.weights.tensors}
    for i, buffer in enumerate(plan["buffers"]):
        if buffer["kind"] != "weight":
            continue
        has = stored.get(buffer["name"])
        # an odd number of float16 ends in half a word, which a kernel that reads words binds whole
        if has is None or -(-has // 4) != -(-buffer["bytes"] // 4):
            raise BundleError(
                f"{file}: buffers[{i}].bytes: {buffer['bytes']}, the weights have {has or 'no such tensor'}"
            )
    layers = manifest.model.layers
    for name, entry in plan["entries"].items():
        for i, launch in enumerate(entry["launches"]):
            if launch.get("layer", 0) >= layers:
                raise BundleError(
                    f"{file}: entries.{name}.launches[{i}].layer: {launch['layer']}, but there are {layers} layers"
                )
    alone, expected = texts_entry(plan), None
    if manifest.embedding or manifest.reranking:
        expected = "embed" if manifest.embedding else "score"
    if alone != expected:
        raise BundleError(f"{file}: entries: {alone or 'prefill'} is not for what the manifest says")
    sees = manifest.images is not None and plan["tier"] not in CPU_TIERS
    if ("image" in plan["entries"]) != sees:
        raise BundleError(
            f"{file}: entries: image is there without the manifest's images, or they without it"
        )
    needed = _of_texts(manifest) if alone else _of_answers(plan, manifest)
    shared = {
        buffer["name"]: buffer["bytes"]
        for buffer in plan["buffers"]
        if buffer["kind"] != "kv" and buffer["kind"] != "weight"
    }
    for name, size in needed.items():
        if shared.get(name, 0) < size:
            raise BundleError(f"{file}: buffers: {name} has {shared.get(name, 'none')} of {size} bytes")


def texts_entry(plan: Plan) -> str | None:
    """The entry of a model of whole texts, ``embed`` or ``score``; None of a model that answers."""
    return next((row.name for row in ENTRIES if row.texts and row.name in plan["entries"]), None)


def _of_answers(plan: Plan, manifest: Manifest) -> dict[str, int]:
    """Bytes of the buffers that the engine shares with the kernels of a model that answers."""
    pages = max([1, *(buffer["pages"] for buffer in plan["buffers"] if buffer["kind"] == "kv")])
    needed = {
        "tokens": DTYPE_BYTES["int32"] * manifest.model.prefill_chunk,
        "state": State.BYTES,
        "page_table": DTYPE_BYTES["int32"] * pages,
        "logits": DTYPE_BYTES["float32"] * manifest.model.vocab_size,
    }
    if plan["tier"] in CPU_TIERS:
        return needed
    needed["sampling"] = Sampling.BYTES
    needed["mask"] = DTYPE_BYTES["uint32"] * -(-manifest.model.vocab_size // 32)
    if "penalize" in plan["entries"]:
        needed["counts"] = DTYPE_BYTES["int32"] * manifest.model.vocab_size
    return needed if manifest.images is None else {**needed, **_of_images(manifest.images, manifest.model)}


def _of_images(images: ImageFacts, model: ModelFacts) -> dict[str, int]:
    """The same of a tower, of which a call takes a tile or a picture, and of its rows in a prefill."""
    patches = most_patches(images)
    rows = patches // images.merge**2
    width = DTYPE_BYTES["float32"] * model.hidden_size * (1 + (images.added or 0))
    ends = {"ends": DTYPE_BYTES["int32"] * model.prefill_chunk} if images.together else {}
    if images.tile is not None:
        places = {"positions": DTYPE_BYTES["int32"] * patches}
    else:
        places = {"spots": Spot.BYTES * patches, "axes": Axes.BYTES * model.prefill_chunk}
    if images.window is not None:
        places["windows"] = Place.BYTES * patches
    return {
        **ends,
        "images": width * model.prefill_chunk,
        "patches": DTYPE_BYTES["float32"] * 3 * images.patch**2 * patches,
        **places,
        "places": Place.BYTES * patches,
        "rows": DTYPE_BYTES["int32"] * rows,
        "image_rows": width * rows,
    }


def _of_texts(manifest: Manifest) -> dict[str, int]:
    """The same of a model of whole texts, of which a call takes as many as tokens."""
    chunk, embedding = manifest.model.prefill_chunk, manifest.embedding
    output, width = ("embeddings", embedding.dimensions) if embedding else ("scores", 1)
    return {
        "tokens": DTYPE_BYTES["int32"] * chunk,
        "places": Place.BYTES * chunk,
        "texts": DTYPE_BYTES["int32"] * chunk,
        output: DTYPE_BYTES["float32"] * chunk * width,
    }
