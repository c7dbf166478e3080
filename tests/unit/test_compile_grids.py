"""Compiling models that see pictures of any shape: what their folders say, what is refused, what a plan has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlcweb.bundle import open_bundle
from mlcweb.bundle.plan_check import check_plan_fits
from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.compile.decide import decide
from mlcweb.compile.job import Job
from mlcweb.contract.manifest import PixelRange
from mlcweb.contract.pictures import (
    axes_of,
    block_order,
    patches_of,
    sample_picture,
    spots_of,
    windows_of,
    words_of,
)
from mlcweb.errors import BundleError, CheckpointError, MlcwebError, UnsupportedError
from mlcweb.progress import SilentProgress
from mlcweb.sources import open_checkpoint, with_matrices
from tests.fixtures.grids.cases import BY_NAME, CONTEXT, IMAGE_TOKEN
from tests.fixtures.grids.checkpoint import EXPECTED, facts_of, make_folder
from tests.support.edited import Change, edit

CASE = BY_NAME["qwen3_vl"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "qwen3_vl", CASE)


def decided(folder: Path, context: int = CONTEXT) -> Job:
    return decide(CompileRequest(str(folder), "q4f32_1", context_length=context), SilentProgress())


def test_the_manifest_says_how_pictures_are_prepared(folder: Path, tmp_path: Path) -> None:
    request = CompileRequest(
        str(folder), "q4f32_1", tmp_path / "b", "b", tiers=("base",), context_length=CONTEXT, evaluate=False
    )
    compile_bundle(request)
    bundle = open_bundle(tmp_path / "b")
    facts = bundle.manifest.images
    assert facts == facts_of(CASE)
    assert facts is not None
    validation = json.loads((tmp_path / "b" / str(bundle.manifest.validation)).read_text())
    picture = validation["picture"]
    assert picture["row"] == IMAGE_TOKEN and picture["tokens"].count(IMAGE_TOKEN) == 10
    (chat,) = [chat for chat in validation["chats"] if isinstance(chat["messages"][0]["content"], list)]
    assert chat["text"].count("<|vision_start|><|image_pad|><|vision_end|>") == 1
    plan = json.loads((tmp_path / "b" / bundle.manifest.tiers[0].plan).read_text())
    check_plan_fits(plan, bundle.manifest, "plan.json")
    names = {buffer["name"]: buffer.get("bytes") for buffer in plan["buffers"]}
    rows = CONTEXT // 2  # half of the context
    assert names["spots"] == 16 * 4 * rows and names["image_rows"] == 4 * 64 * 3 * rows
    assert "positions" not in names
    ops = [(launch["op"], launch.get("layer")) for launch in plan["entries"]["prefill"]["launches"]]
    assert [op for op in ops if op[0] in ("angles", "add_images")] == [
        ("angles", 0), ("add_images", 0), ("add_images", 1)]  # fmt: skip
    larger = replace(facts, pixels=PixelRange(least=1024, most=2 * rows * 16**2))
    with pytest.raises(BundleError, match="patches has 147456 of 294912 bytes"):
        check_plan_fits(plan, replace(bundle.manifest, images=larger), "plan.json")
    plan["buffers"] = [b for b in plan["buffers"] if b["name"] != "axes"]
    with pytest.raises(BundleError, match="axes has none of"):
        check_plan_fits(plan, bundle.manifest, "plan.json")


def test_a_picture_takes_half_of_a_context_and_1024_rows_at_most(folder: Path) -> None:
    for context, rows in ((64, 32), (2048, 1024), (8192, 1024)):
        images = decided(folder, context).images
        assert images is not None and images.pixels is not None
        assert images.pixels.most == rows * 16**2


def test_the_sizes_may_have_their_older_names(folder: Path) -> None:
    def older(config: dict[str, Any]) -> None:
        del config["size"]
        config.update(min_pixels=3136, max_pixels=5000)

    edit(folder / "preprocessor_config.json", older)
    images = decided(folder).images
    assert images is not None and images.pixels == PixelRange(least=3136, most=5000)


def test_what_a_missing_key_means(folder: Path) -> None:
    """Transformers' Qwen2VLImageProcessor has these defaults."""
    edit(
        folder / "preprocessor_config.json",
        lambda config: [config.pop(key) for key in ("size", "image_mean", "image_std")],
    )
    images = decided(folder, 8192).images
    assert images is not None and images.pixels is not None
    assert images.resample == "bicubic"
    assert images.pixels.least == 56 * 56 and images.pixels.most == 1024 * 16**2  # not 28 * 28 * 1280
    assert images.mean == (0.48145466, 0.4578275, 0.40821073)


@pytest.mark.parametrize(
    ("file", "change", "error", "words"),
    [
        ("preprocessor_config.json", lambda c: c.update(size={"longest_edge": -1}), CheckpointError, "_edge is -1"),
        ("preprocessor_config.json", lambda c: c.update(min_pixels="3"), CheckpointError, "min_pixels"),
        ("preprocessor_config.json", lambda c: c.update(min_pixels=1 << 21), CheckpointError, "at least"),
        ("preprocessor_config.json", lambda c: c.update(patch_size=14), CheckpointError, "patches of 14 pixels"),
        ("preprocessor_config.json", lambda c: c.update(merge_size=True), CheckpointError, "merge_size is True"),
        ("preprocessor_config.json", lambda c: c.pop("merge_size"), CheckpointError, "max_image_size"),
        ("preprocessor_config.json", lambda c: c.update(do_resize=False), UnsupportedError, "do_resize"),
        ("config.json", lambda c: c.pop("vision_config"), CheckpointError, "needs a vision_config"),
        ("config.json", lambda c: c["vision_config"].update(out_hidden_size=32), CheckpointError, "out_hidden_size"),
        ("config.json", lambda c: c["vision_config"].update(num_position_embeddings=48), CheckpointError, "no square"),
        ("config.json", lambda c: c["vision_config"].update(num_position_embeddings=64), CheckpointError, "pos_embed"),
        ("config.json", lambda c: c["vision_config"].update(in_channels=1), UnsupportedError, "in_channels"),
        ("config.json", lambda c: c["vision_config"].update(num_heads=16), UnsupportedError, "of the size"),
        ("config.json", lambda c: c["vision_config"].update(num_heads=5), UnsupportedError, "5 heads"),
        ("config.json", lambda c: c["vision_config"].update(hidden_act="relu"), UnsupportedError, "hidden_act"),
        ("config.json", lambda c: c["vision_config"].update(deepstack_visual_indexes=[0, 3]), CheckpointError,
         "deepstack_visual_indexes"),
        ("config.json", lambda c: c["vision_config"].update(deepstack_visual_indexes="0"), CheckpointError,
         "deepstack_visual_indexes"),
        ("config.json", lambda c: c["vision_config"].update(deepstack_visual_indexes=[0]), CheckpointError,
         "deepstack_merger_list"),
        ("config.json", lambda c: c["text_config"]["rope_scaling"].update(mrope_section=[4, 2]), CheckpointError,
         "mrope_section"),
        ("config.json", lambda c: c["text_config"]["rope_scaling"].update(mrope_section=[1, 5, 2]), CheckpointError,
         "mrope_section"),
        ("config.json", lambda c: c.update(image_token_id=9999), CheckpointError, "image_token_id is 9999"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(
    folder: Path, file: str, change: Change, error: type[MlcwebError], words: str
) -> None:
    edit(folder / file, change)
    with pytest.raises(error, match=words):
        decided(folder)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda c: c["vision_config"].update(window_size=11), CheckpointError, "less than a row's 12 pixels"),
        (
            lambda c: c["vision_config"].update(fullatt_block_indexes=[3]),
            CheckpointError,
            "fullatt_block_indexes",
        ),
        (lambda c: c["vision_config"].update(hidden_act="gelu"), UnsupportedError, "hidden_act"),
        (lambda c: c["rope_scaling"].update(mrope_section=[2, 3, 2]), CheckpointError, "mrope_section"),
        (lambda c: c["vision_config"].update(out_hidden_size=32), CheckpointError, "out_hidden_size"),
    ],
)
def test_what_contradicts_itself_of_windows_is_refused(
    tmp_path: Path, change: Change, error: type[MlcwebError], words: str
) -> None:
    folder = make_folder(tmp_path, BY_NAME["qwen2_5_vl"])
    edit(folder / "config.json", change)
    with pytest.raises(error, match=words):
        decided(folder)


def test_a_tower_may_have_its_older_names(tmp_path: Path) -> None:
    """As Qwen2.5-VL is published: the tower's names and the text model's have no prefix that they share."""
    folder = make_folder(tmp_path, BY_NAME["qwen2_5_vl"])
    before = decided(folder)
    path = folder / "model.safetensors"
    older = {
        name.replace("model.visual.", "visual.").replace("model.language_model.", "model."): tensor
        for name, tensor in load_file(path).items()
    }
    assert any(name.startswith("visual.") for name in older)
    save_file(older, path)
    assert decided(folder).images == before.images
    assert sorted(decided(folder).checkpoint.tensors) == sorted(before.checkpoint.tensors)


def test_a_tower_that_is_missing(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({n: t for n, t in tensors.items() if ".visual." not in n}, path)
    with pytest.raises(CheckpointError, match="holds no tensor of its tower"):
        decided(folder)
    save_file({n: t for n, t in tensors.items() if "merger.norm" not in n}, path)
    with pytest.raises(CheckpointError, match=r"merger\.norm"):
        decided(folder)


def test_weights_of_patches_are_summed_over_moments(folder: Path) -> None:
    name = "model.visual.patch_embed.proj.weight"
    stored = load_file(folder / "model.safetensors")[name]
    assert stored.shape == (64, 3, 2, 8, 8)
    read = with_matrices(open_checkpoint(str(folder))).tensors[name]
    assert (read.shape, read.dtype) == ((64, 192), "float32")
    np.testing.assert_allclose(read.read(), stored.sum(2).reshape(64, -1), rtol=1e-6)
    np.testing.assert_array_equal(read.read(slice(5, 7)), read.read()[5:7])


def test_places_are_transformers() -> None:
    for case in json.loads((EXPECTED / "places.json").read_text()):
        shapes = [tuple(part) for part in case["parts"] if not isinstance(part, int)]
        counts = [part if isinstance(part, int) else part[0] * part[1] for part in case["parts"]]
        kinds = [7 if isinstance(part, int) else IMAGE_TOKEN for part in case["parts"]]
        tokens = [kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
        axes = axes_of(tokens, IMAGE_TOKEN, shapes)
        assert axes.tolist() == case["axes"]
        assert axes.max() + 1 - len(tokens) == case["shift"]


def test_patches_and_spots_are_in_blocks() -> None:
    facts = facts_of(CASE)
    picture = sample_picture((32, 48))
    patches, spots = patches_of(picture, facts), spots_of((4, 6), facts.merge)
    assert patches.shape == (24, 192) and spots.shape == (24, 4)
    assert spots[:6, :2].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [0, 2], [0, 3]]
    assert (spots[:, 2:] == (4, 6)).all()
    for patch, (line, column, _, _) in zip(patches, spots, strict=True):
        seen = picture[8 * line : 8 * line + 8, 8 * column : 8 * column + 8]
        wanted = (seen.transpose(2, 0, 1) / 255 - 0.5) / 0.5
        np.testing.assert_allclose(patch, wanted.reshape(-1), rtol=1e-6)
    assert words_of(facts, size=(32, 48)) == "<|image_pad|>" * 6


def test_patches_come_window_by_window() -> None:
    """Of 3 x 5 rows, windows of two rows a side are not all full."""
    order = block_order((3, 5), 2)
    assert order.tolist() == [0, 1, 5, 6, 2, 3, 7, 8, 4, 9, 10, 11, 12, 13, 14]
    assert block_order((3, 5), 4).tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 4, 9, 14]
    seen = windows_of((6, 10), 2, 2)
    assert np.unique(seen, axis=0).tolist() == [[0, 16], [16, 32], [32, 40], [40, 48], [48, 56], [56, 60]]
    spots = spots_of((6, 10), 2, 2)
    for begin, end in np.unique(seen, axis=0):
        assert len(np.unique(spots[begin:end, :2] // 4, axis=0)) == 1
    facts = replace(facts_of(CASE), window=2)
    picture = sample_picture((48, 80))
    plain = patches_of(picture, facts_of(CASE)).reshape(15, 4, -1)
    np.testing.assert_array_equal(patches_of(picture, facts).reshape(15, 4, -1), plain[order])
