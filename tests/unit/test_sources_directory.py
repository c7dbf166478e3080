"""Model folders: what is read, and what is refused, with the file at fault named."""

import json
import struct
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlcweb.errors import CheckpointError, SourceError, UnsupportedError
from mlcweb.sources import open_checkpoint
from tests.support.tiny import TinyLlama, make_llama

Q = "model.layers.1.self_attn.q_proj.weight"


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_tensors_equal_what_was_written(tmp_path, dtype, shards):
    model = TinyLlama(dtype=dtype, shards=shards, tied=False)
    checkpoint = open_checkpoint(str(make_llama(tmp_path, model)))
    weights = model.weights()
    assert set(checkpoint.tensors) == set(weights)
    for name, expected in weights.items():
        tensor = checkpoint.tensors[name]
        assert (tensor.name, tensor.shape, tensor.dtype) == (name, expected.shape, dtype)
        np.testing.assert_array_equal(tensor.read(), expected, strict=True)


@pytest.mark.parametrize("rows", [slice(3, 9), slice(60, 99), slice(-4, None), slice(5, 5), slice(7, 2)])
def test_row_ranges_are_slices(tmp_path, rows):
    model = TinyLlama()
    tensor = open_checkpoint(str(make_llama(tmp_path, model))).tensors[Q]
    np.testing.assert_array_equal(tensor.read(rows), model.weights()[Q][rows], strict=True)
    with pytest.raises(ValueError, match="contiguous"):
        tensor.read(slice(0, 8, 2))


def test_reads_are_thread_safe(tmp_path):
    model = TinyLlama()
    tensor = open_checkpoint(str(make_llama(tmp_path, model))).tensors[Q]
    expected = model.weights()[Q]
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda i: tensor.read(slice(i % 64, i % 64 + 1))[0], range(640)))
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(row, expected[i % 64])


def test_scalars_and_empty_tensors(tmp_path):
    folder = make_llama(tmp_path)
    save_file(
        {"s": np.array(2.5, ml_dtypes.bfloat16), "e": np.zeros((0, 4), np.float32)},
        folder / "model.safetensors",
    )
    tensors = open_checkpoint(str(folder)).tensors
    assert tensors["s"].read().shape == () and float(tensors["s"].read()) == 2.5
    assert tensors["e"].read().shape == (0, 4)


def test_records_hold_no_path_of_this_machine(tmp_path):
    checkpoint = open_checkpoint(str(make_llama(tmp_path / "some" / "Tiny-Llama")))
    assert checkpoint.source == {"kind": "directory", "name": "Tiny-Llama"}
    assert checkpoint.config["hidden_size"] == 64


def test_fingerprint_follows_content_and_not_place(tmp_path):
    def fingerprint(name, model):
        return open_checkpoint(str(make_llama(tmp_path / name, model))).fingerprint

    base = fingerprint("a", TinyLlama())
    assert fingerprint("b", TinyLlama()) == base
    assert len(base) == 64
    others = [TinyLlama(seed=1), TinyLlama(dtype="float16"), TinyLlama(rope_theta=5e5), TinyLlama(tied=False)]
    assert len({base, *(fingerprint(str(i), model) for i, model in enumerate(others))}) == 5


def test_a_separate_chat_template_is_merged(tmp_path):
    folder = make_llama(tmp_path)
    (folder / "chat_template.jinja").write_text("{{ 'ünïque' }}", encoding="utf-8")
    config = json.loads(open_checkpoint(str(folder)).tokenizer_files["tokenizer_config.json"])
    assert config["chat_template"] == "{{ 'ünïque' }}"
    assert config["eos_token"] == "<|im_end|>"


@pytest.mark.parametrize("in_file", [True, False], ids=["a file of its own", "in the config"])
def test_templates_for_tools_are_merged_by_name(tmp_path, in_file):
    folder = make_llama(tmp_path)
    default = json.loads((folder / "tokenizer_config.json").read_bytes())["chat_template"]
    if in_file:
        default = "D"
        (folder / "chat_template.jinja").write_text(default)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("T {{ tools }}")
    config = json.loads(open_checkpoint(str(folder)).tokenizer_files["tokenizer_config.json"])
    named = {entry["name"]: entry["template"] for entry in config["chat_template"]}
    assert named == {"default": default, "tool_use": "T {{ tools }}"}


@pytest.mark.parametrize(
    ("config", "generation", "eos_token", "expected"),
    [
        (2, 2, "<|im_end|>", (2,)),
        ([0, 1], 2, None, (0, 1, 2)),
        (None, None, "<|endoftext|>", (0,)),
        (7, [8, 9], {"content": "<|im_end|>"}, (2, 7, 8, 9)),
        (5, None, "not in tokenizer.json", (5, 273)),  # transformers adds it
    ],
)
def test_stop_tokens_are_the_union(tmp_path, config, generation, eos_token, expected):
    folder = make_llama(tmp_path)
    edit_json(folder / "config.json", eos_token_id=config)
    edit_json(folder / "generation_config.json", eos_token_id=generation)
    edit_json(folder / "tokenizer_config.json", eos_token=eos_token, chat_template=None)
    assert open_checkpoint(str(folder)).eos_token_ids == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ '<|im_start|>' }}{{ '<|im_end|>' }}", (0, 2)),
        ([{"name": "default", "template": "{{ '<|im_end|>' }}"}], (0, 2)),
        ("{{ '<end_of_turn>' }}", (0,)),  # not a token of this tokenizer
        ("no turns", (0,)),
    ],
)
def test_what_ends_a_turn_ends_an_answer(tmp_path, template, expected):
    """Gemma's first release names <eos> alone, and ends turns with <end_of_turn>."""
    folder = make_llama(tmp_path)
    edit_json(folder / "config.json", eos_token_id=0)
    edit_json(folder / "generation_config.json", eos_token_id=0)
    edit_json(folder / "tokenizer_config.json", eos_token="<|endoftext|>", chat_template=template)
    assert open_checkpoint(str(folder)).eos_token_ids == expected


def test_truncated_weights_name_the_file(tmp_path):
    path = make_llama(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a complete"):
        open_checkpoint(str(tmp_path))


@pytest.mark.parametrize("size", [0, 1, 1 << 24, 1 << 62])
def test_lying_header_length_names_the_file(tmp_path, size):
    path = make_llama(tmp_path) / "model.safetensors"
    path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a complete"):
        open_checkpoint(str(tmp_path))


@pytest.mark.parametrize("offsets", [[0, 1 << 40], [64, 0], [-8, 8], [0, 3]])
def test_offsets_that_disagree_with_the_file_name_it(tmp_path, offsets):
    folder = make_llama(tmp_path)
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": offsets}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a complete"):
        open_checkpoint(str(folder))


def test_a_file_cut_short_after_opening_is_an_error_too(tmp_path):
    folder = make_llama(tmp_path)
    checkpoint = open_checkpoint(str(folder))
    with open(folder / "model.safetensors", "r+b") as file:
        file.truncate(4000)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: ends"):
        checkpoint.tensors["model.norm.weight"].read()


def test_missing_shard_is_named(tmp_path):
    folder = make_llama(tmp_path, TinyLlama(shards=2))
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="names model-00002-of-00002"):
        open_checkpoint(str(folder))


def test_tensor_missing_from_its_shard_is_named(tmp_path):
    folder = make_llama(tmp_path, TinyLlama(shards=2))
    shard = folder / "model-00002-of-00002.safetensors"
    weights = load_file(shard)
    del weights["model.norm.weight"]
    save_file(weights, shard)
    with pytest.raises(CheckpointError, match=r"model-00002.*does not hold model\.norm\.weight"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize("name", ["9" * 5000, "a\0b"])
def test_an_index_with_a_name_that_no_file_has(tmp_path, name):
    folder = make_llama(tmp_path, TinyLlama(shards=2))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(CheckpointError, match="which is not in the folder"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a\\b", 7])
def test_an_index_names_files_beside_it_only(tmp_path, name):
    folder = make_llama(tmp_path, TinyLlama(shards=2))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(CheckpointError, match="not a file name"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("name", "content"), [("config.json", b"{"), ("tokenizer_config.json", b"\xff"), ("config.json", b"[]")]
)
def test_broken_json_names_the_file(tmp_path, name, content):
    (make_llama(tmp_path) / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        open_checkpoint(str(tmp_path))


def test_missing_tokenizer_says_how_to_make_one(tmp_path):
    (make_llama(tmp_path) / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json") as caught:
        open_checkpoint(str(tmp_path))
    assert "save_pretrained" in caught.value.hint


def test_pickled_weights_are_refused_with_a_way_out(tmp_path):
    folder = make_llama(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsupportedError, match="pickled") as caught:
        open_checkpoint(str(folder))
    assert "save_pretrained" in caught.value.hint


def test_quantized_checkpoints_are_refused(tmp_path):
    folder = make_llama(tmp_path)
    edit_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(UnsupportedError, match="already quantized \\(gptq\\)"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize(
    "spec",
    [
        "nowhere",
        "./nowhere",
        "a/b/c",
        "missing.gguf",
        "org/missing.gguf",
        "x" * 5000,
        "~no such user/x",
        "a\0b",
    ],
)
def test_neither_path_nor_id(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="no such file or folder"):
        open_checkpoint(spec)


def test_odd_paths(tmp_path):
    with pytest.raises(SourceError, match=r"no config\.json"):
        open_checkpoint(str(tmp_path))
    (tmp_path / "x.bin").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"neither a \.gguf file nor a folder"):
        open_checkpoint(str(tmp_path / "x.bin"))
    with pytest.raises(SourceError, match="has no revision"):
        open_checkpoint(str(tmp_path), revision="main")
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(SourceError, match=r"2 GGUF files \(a.gguf, b.gguf\)"):
        open_checkpoint(str(tmp_path))
