"""Compiling models that see: what their folders say, what is refused, and how their towers are stored."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlcweb.bundle import open_bundle
from mlcweb.bundle.plan_check import check_plan_fits
from mlcweb.cli.command import run
from mlcweb.compile import CompileRequest, compile_bundle
from mlcweb.compile.decide import decide
from mlcweb.compile.job import Job
from mlcweb.contract.pictures import patches_of, sample_picture, sample_size, words_of
from mlcweb.errors import BundleError, CheckpointError, MlcwebError, UnsupportedError
from mlcweb.models.families.llama.idefics3 import positions_of
from mlcweb.progress import SilentProgress
from tests.fixtures.images.cases import BY_NAME, CONTEXT
from tests.fixtures.images.checkpoint import facts_of, make_folder
from tests.fixtures.images.kinds import IMAGE_TOKEN
from tests.support.edited import Change, edit

CASE, GEMMA3 = BY_NAME["smolvlm"], BY_NAME["gemma3"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "smolvlm", CASE)


def decided(folder: Path, **options: Any) -> Job:
    return decide(CompileRequest(str(folder), "q4f32_1", context_length=CONTEXT, **options), SilentProgress())


def test_the_manifest_says_how_pictures_are_prepared(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = CompileRequest(
        str(folder), "q4f32_1", tmp_path / "b", "b", tiers=("base",), context_length=CONTEXT, evaluate=False
    )
    compile_bundle(request)
    bundle = open_bundle(tmp_path / "b")
    assert bundle.manifest.images == facts_of(CASE)
    stored = {tensor.name: tensor.shape for tensor in bundle.manifest.weights.tensors}
    # the tower's codes are of 8 bits, four in a word, and the layers' of 4
    assert stored["images.tower.layers.0.self_attn.qkv_proj.q_weight"] == (192, 64 // 4)
    assert stored["model.layers.0.self_attn.qkv_proj.q_weight"] == (128, 64 // 8)
    assert stored["images.tower.patch_embed.weight"] == (64, 3 * 8 * 8)
    validation = json.loads((tmp_path / "b" / str(bundle.manifest.validation)).read_text())
    picture = validation["picture"]
    assert picture["row"] == IMAGE_TOKEN and picture["tokens"].count(IMAGE_TOKEN) == 4
    (chat,) = [chat for chat in validation["chats"] if isinstance(chat["messages"][0]["content"], list)]
    assert chat["text"].count("<image>") == 1
    plan = json.loads((tmp_path / "b" / bundle.manifest.tiers[0].plan).read_text())
    assert plan["entries"]["image"]["dims"] == ["n", "b"]
    check_plan_fits(plan, bundle.manifest, "plan.json")
    larger = replace(bundle.manifest, images=replace(facts_of(CASE), tile=64))
    with pytest.raises(BundleError, match="patches has 12288 of 49152 bytes"):
        check_plan_fits(plan, larger, "plan.json")
    with pytest.raises(BundleError, match="image is there without the manifest's images"):
        check_plan_fits(plan, replace(bundle.manifest, images=None), "plan.json")
    assert run(["inspect", str(tmp_path / "b")]) == 0
    assert "in tiles of 32 x 32 pixels, 4 tokens each" in capsys.readouterr().out
    assert run(["publish", str(tmp_path / "b"), str(tmp_path / "target")]) == 0
    assert run(["list", "--catalog", str(tmp_path / "target")]) == 0
    assert "chat, pictures" in capsys.readouterr().out


def test_the_keys_may_lie_in_processor_config(folder: Path) -> None:
    preprocessor = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(
        json.dumps({"image_seq_len": 4, "image_processor": preprocessor})
    )
    job = decided(folder)
    assert job.images == facts_of(CASE)


def test_a_preprocessor_that_does_not_split(folder: Path) -> None:
    edit(folder / "preprocessor_config.json", lambda c: c.update(do_image_splitting=False, resample=3))
    images = decided(folder).images
    assert images is not None and images.longest_edge is None and images.resample == "bicubic"


@pytest.mark.parametrize(
    ("file", "change", "error", "words"),
    [
        ("preprocessor_config.json", lambda c: c.pop("size"), CheckpointError, "size has no longest_edge"),
        ("preprocessor_config.json", lambda c: c.update(size={"longest_edge": 1 << 20}), CheckpointError, "size"),
        ("preprocessor_config.json", lambda c: c.update(max_image_size={"longest_edge": 64}), CheckpointError,
         "tiles of 64 pixels, and the tower sees 32"),
        ("preprocessor_config.json", lambda c: c.update(image_std=[0, 1, 1]), CheckpointError, "image_std"),
        ("preprocessor_config.json", lambda c: c.update(image_mean=[0.5]), CheckpointError, "image_mean"),
        ("preprocessor_config.json", lambda c: c.update(resample=0), UnsupportedError, "resample is 0"),
        ("preprocessor_config.json", lambda c: c.update(do_normalize=False), UnsupportedError, "do_normalize"),
        ("preprocessor_config.json", lambda c: c.update(rescale_factor=1), UnsupportedError, "rescale_factor"),
        ("config.json", lambda c: c.pop("vision_config"), CheckpointError, "needs a vision_config"),
        ("config.json", lambda c: c["vision_config"].update(image_size=40), CheckpointError, "no whole blocks"),
        ("config.json", lambda c: c["vision_config"].update(num_channels=1), UnsupportedError, "num_channels"),
        ("config.json", lambda c: c["vision_config"].update(num_attention_heads=32), UnsupportedError, "head_dim 2"),
        ("config.json", lambda c: c["vision_config"].update(hidden_act="relu"), UnsupportedError, "hidden_act"),
        ("config.json", lambda c: c["vision_config"].update(image_size=64), CheckpointError, "position_embedding"),
        ("config.json", lambda c: c.update(scale_factor=0), CheckpointError, "scale_factor"),
        ("config.json", lambda c: c.update(image_token_id=9999), CheckpointError, "image_token_id is 9999"),
        ("config.json", lambda c: c["text_config"].update(model_type="mamba"), UnsupportedError, "mamba"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(
    folder: Path, file: str, change: Change, error: type[MlcwebError], words: str
) -> None:
    edit(folder / file, change)
    with pytest.raises(error, match=words):
        decided(folder)


def test_without_a_preprocessor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json and no processor_config\.json"):
        decided(folder)


def test_a_tower_that_is_missing(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({n: t for n, t in tensors.items() if ".text_model." in n or n == "lm_head.weight"}, path)
    with pytest.raises(CheckpointError, match="holds no tensor of its tower"):
        decided(folder)
    save_file({n: t for n, t in tensors.items() if "post_layernorm" not in n}, path)
    with pytest.raises(CheckpointError, match="post_layernorm"):
        decided(folder)


def test_a_tokenizer_without_the_pictures_token(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"<image>"', '"<picture>"'))
    with pytest.raises(CheckpointError, match="no token <image>"):
        decided(folder)


def test_the_preprocessor_is_part_of_what_a_bundle_is_made_of(folder: Path) -> None:
    before = decided(folder).digest()
    edit(folder / "preprocessor_config.json", lambda c: c.update(image_mean=[0.4, 0.5, 0.5]))
    assert decided(folder).digest() != before


@pytest.fixture
def gemma3(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "gemma3", GEMMA3)


@pytest.mark.parametrize(
    ("file", "change", "error", "words"),
    [
        ("preprocessor_config.json", lambda c: c.update(do_pan_and_scan=True), UnsupportedError, "do_pan_and_scan"),
        ("preprocessor_config.json", lambda c: c["size"].update(width=48), UnsupportedError, "size is 36 x 48"),
        ("preprocessor_config.json", lambda c: c["size"].pop("width"), CheckpointError, "size has no width"),
        ("config.json", lambda c: c.update(mm_tokens_per_image=8), CheckpointError, "mm_tokens_per_image is 8, which"),
        ("config.json", lambda c: c.update(mm_tokens_per_image=16), CheckpointError, "is 16, which 6 x 6 patches"),
        ("config.json", lambda c: c.update(mm_tokens_per_image=49), CheckpointError, "is 49, which 6 x 6 patches"),
        ("config.json", lambda c: c.update(image_token_index=9999), CheckpointError, "image_token_index is 9999"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_where_a_picture_is_one_tile(
    gemma3: Path, file: str, change: Change, error: type[MlcwebError], words: str
) -> None:
    edit(gemma3 / file, change)
    with pytest.raises(error, match=words):
        decided(gemma3)


def test_a_chunk_has_room_for_a_picture_whose_rows_see_one_another(gemma3: Path) -> None:
    images = decided(gemma3, prefill_chunk=9).images
    assert images == facts_of(GEMMA3) and images.together
    with pytest.raises(
        UnsupportedError, match="chunk of 8 tokens has no room for a picture, whose 9 rows"
    ) as raised:
        decided(gemma3, prefill_chunk=8)
    assert "--no-images" in str(raised.value.hint)


def test_a_tower_has_the_names_of_either_transformers(gemma3: Path) -> None:
    before = decided(gemma3).checkpoint
    path = gemma3 / "model.safetensors"
    tensors = {
        n.replace("vision_tower.", "vision_tower.vision_model."): t for n, t in load_file(path).items()
    }
    head = {"vision_tower.vision_model.head.probe": np.zeros((1, 1, 72), np.float32)}  # which nobody reads
    save_file({**tensors, **head}, path)
    assert set(decided(gemma3).checkpoint.tensors) - set(before.tensors) == {"vision_tower.head.probe"}


def test_the_text_model_alone(gemma3: Path, folder: Path) -> None:
    for source, text in ((gemma3, "Gemma3ForCausalLM"), (folder, "LlamaForCausalLM")):
        (source / "preprocessor_config.json").unlink()
        job = decided(source, images=False)
        assert job.images is None and job.checkpoint.config["architectures"] == [text]
        assert not [name for name in job.checkpoint.tensors if "vision" in name or "connector" in name]


def test_patches_are_in_blocks() -> None:
    facts, tile = facts_of(CASE), sample_picture(sample_size(facts_of(CASE)))
    patches = patches_of(tile, facts)
    assert patches.shape == (16, 192)
    # the third patch is the first of the second line: blocks are of 2 x 2
    wanted = (tile[8:16, :8].transpose(2, 0, 1) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(patches[2], wanted.reshape(-1), rtol=1e-6)
    wanted = (tile[:8, 16:24].transpose(2, 0, 1) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(patches[4], wanted.reshape(-1), rtol=1e-6)


def test_words_of_tiles() -> None:
    facts = facts_of(CASE)
    fake, rows = "<fake_token_around_image>", "<image>" * 4
    assert words_of(facts) == f"{fake}<global-img>{rows}{fake}"
    line = f"{fake}<row_1_col_1>{rows}{fake}<row_1_col_2>{rows}\n"
    assert words_of(facts, 1, 2) == f"{line}\n{fake}<global-img>{rows}{fake}"
    assert asdict(facts)["prompt"]["end"] == fake


@pytest.mark.parametrize("side", [1, 2, 6, 14, 26, 27, 32])
def test_positions_are_a_row_for_each_patch(side: int) -> None:
    positions = positions_of(side)
    assert positions.shape == (side * side,) and positions.min() == 0 and positions.max() <= side * side - 1
    if side & (side - 1) == 0:  # its fractions are exact
        assert (positions == np.arange(side * side)).all()
