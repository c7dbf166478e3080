"""GGUF files made with gguf's own writer, the way llama.cpp's converter makes them from a Llama."""

import struct

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf.quants import _type_traits as dequantizers

from mlcweb.errors import CheckpointError, SourceError, UnsupportedError
from mlcweb.progress import SilentProgress
from mlcweb.sources import open_checkpoint, require
from mlcweb.sources.gguf.file import read_gguf
from mlcweb.sources.gguf.rope import infer_rope_scaling, llama3_factors
from tests.support.llama_gguf import MODEL, write_gguf
from tests.support.tiny import TinyLlama


def test_config_is_the_one_it_was_made_from(tmp_path):
    checkpoint = open_checkpoint(str(write_gguf(tmp_path / "Tiny.gguf")))
    expected = MODEL.hf_config() | {"pad_token_id": 2, "eos_token_id": [2, 0]}
    del expected["torch_dtype"]
    assert checkpoint.config == expected
    assert checkpoint.source == {"kind": "gguf", "name": "Tiny.gguf"}
    assert checkpoint.eos_token_ids == (0, 2)


@pytest.mark.parametrize("tied", [True, False])
def test_tensors_have_hugging_face_names_and_row_order(tmp_path, tied):
    model = TinyLlama(dtype="float32", tied=tied)
    checkpoint = open_checkpoint(str(write_gguf(tmp_path / "x.gguf", model)))
    require(checkpoint, model.shapes())
    for name, weight in model.weights().items():
        np.testing.assert_array_equal(checkpoint.tensors[name].read(), weight, err_msg=name, strict=True)
    assert checkpoint.config["tie_word_embeddings"] is tied


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_1, Kind.Q4_0, Kind.Q5_1])
def test_row_ranges_equal_slices_of_the_whole(tmp_path, kind):
    checkpoint = open_checkpoint(str(write_gguf(tmp_path / "x.gguf", kind=kind)))
    plain = {Kind.F16: "float16", Kind.BF16: "bfloat16"}
    for name, weight in MODEL.weights().items():
        tensor = checkpoint.tensors[name]
        whole = tensor.read()
        assert (
            tensor.dtype
            == whole.dtype.name
            == ("float32" if weight.ndim == 1 else plain.get(kind, "float32"))
        )
        error = np.abs(whole.astype(np.float32) - weight).max()
        assert error <= np.abs(weight).max() / (6 if kind.name.startswith("Q4") else 14), name
        for rows in (slice(0, 1), slice(5, 23), slice(31, 33), slice(16, 32), slice(40, None), slice(9, 9)):
            np.testing.assert_array_equal(
                tensor.read(rows), whole[rows], err_msg=f"{name} {rows}", strict=True
            )


@pytest.mark.parametrize("kind", dequantizers, ids=lambda kind: kind.name)
def test_every_type_that_the_library_dequantizes_is_read(tmp_path, kind):
    """Random blocks in the place of a matrix, also where its rows are cut."""
    rows, (block, size) = 6, gguf.GGML_QUANT_SIZES[kind]
    blocks = np.random.default_rng(0).integers(0, 256, (rows, 2 * size), np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("t", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tensor = read_gguf(tmp_path / "x.gguf").tensors["t"]
    assert (tensor.kind, tensor.shape, tensor.size) == (kind, (rows, 2 * block), blocks.size)
    with np.errstate(all="ignore"):
        expected = gguf.dequantize(blocks, kind)
        for start, stop in ((0, rows), (1, 4), (5, 6), (2, 2)):
            actual = tensor.load_rows(start, stop).astype(np.float32)
            np.testing.assert_array_equal(actual, expected[start:stop])


def test_fingerprint_follows_weights(tmp_path):
    first = open_checkpoint(str(write_gguf(tmp_path / "a.gguf"))).fingerprint
    assert open_checkpoint(str(write_gguf(tmp_path / "b.gguf"))).fingerprint == first
    other = write_gguf(tmp_path / "c.gguf", TinyLlama(dtype="float32", seed=5))
    assert open_checkpoint(str(other)).fingerprint != first


def test_a_folder_with_one_gguf_is_that_gguf(tmp_path):
    path = write_gguf(tmp_path / "x.gguf")
    assert open_checkpoint(str(tmp_path)).fingerprint == open_checkpoint(str(path)).fingerprint


@pytest.mark.parametrize(
    ("factor", "high", "context", "theta", "head_dim"),
    [(8.0, 4.0, 8192, 500000.0, 128), (32.0, 4.0, 8192, 500000.0, 64), (4.0, 8.0, 4096, 10000.0, 96)],
)
def test_llama3_rope_scaling_is_recovered(tmp_path, factor, high, context, theta, head_dim):
    factors = llama3_factors(head_dim, theta, factor, 1.0, high, context).astype(np.float32)
    expected = {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": high,
        "original_max_position_embeddings": context,
    }
    assert infer_rope_scaling(factors.astype(np.float64), head_dim, theta) == expected
    model = TinyLlama(dtype="float32", hidden=96, head_dim=head_dim, rope_theta=theta)
    checkpoint = open_checkpoint(str(write_gguf(tmp_path / "x.gguf", model, factors=factors)))
    assert checkpoint.config["rope_scaling"] == expected
    require(checkpoint, model.shapes())


def test_llama3_factors_follow_transformers_rule():
    """Llama 3.1: short wavelengths unchanged, long ones divided by 8, in between as the published code."""
    factors = llama3_factors(128, 500000.0, 8.0, 1.0, 4.0, 8192)
    for i, factor in enumerate(factors):
        wavelength = 2 * np.pi * 500000.0 ** (2 * i / 128)
        if wavelength < 8192 / 4:
            expected = 1.0
        elif wavelength > 8192:
            expected = 8.0
        else:
            smooth = (8192 / wavelength - 1) / 3
            expected = 1 / ((1 - smooth) / 8 + smooth)
        assert factor == pytest.approx(expected, rel=1e-9)


def test_other_rope_factors_are_unsupported(tmp_path):
    factors = np.linspace(1, 3, MODEL.head_dim // 2) ** 2
    with pytest.raises(UnsupportedError, match="rope factors"):
        open_checkpoint(str(write_gguf(tmp_path / "x.gguf", factors=factors)))


def test_other_architectures_name_the_known_ones(tmp_path):
    with pytest.raises(UnsupportedError, match="'falcon' is not supported; known: llama"):
        open_checkpoint(str(write_gguf(tmp_path / "x.gguf", arch="falcon")))


def test_no_stop_token_that_is_one_is_an_error(tmp_path):
    """The tokens that end a turn lose their type, so that nothing but the metadata names an end."""
    data = write_gguf(tmp_path / "x.gguf").read_bytes()
    types = struct.pack("<3i", 3, 3, 3)
    eos = b"tokenizer.ggml.eos_token_id" + struct.pack("<II", 4, 2)
    assert data.count(types) == 1 and data.count(eos) == 1
    wrong = data.replace(eos, eos[:-4] + struct.pack("<I", 2**32 - 1))
    notes = Notes()
    (tmp_path / "y.gguf").write_bytes(wrong)
    assert open_checkpoint(str(tmp_path / "y.gguf"), progress=notes).eos_token_ids == (0, 2)
    assert notes.texts == [
        "y.gguf: tokenizer.ggml.eos_token_id is 4294967295, none of the 320 tokens; it is ignored"
    ]
    (tmp_path / "z.gguf").write_bytes(wrong.replace(types, struct.pack("<3i", 1, 1, 1)))
    with pytest.raises(
        CheckpointError, match=r"eos_token_id is 4294967295, none .* no other token ends an answer"
    ):
        open_checkpoint(str(tmp_path / "z.gguf"))


class Notes(SilentProgress):
    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def test_tensors_past_the_end_and_missing_metadata(tmp_path):
    data = write_gguf(tmp_path / "x.gguf").read_bytes()
    at = data.index(b"blk.0.attn_k.weight") + len(b"blk.0.attn_k.weight")
    # n_dims, two dims and the type come before the offset.
    damaged = data[: at + 24] + struct.pack("<Q", 1 << 40) + data[at + 32 :]
    (tmp_path / "x.gguf").write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"x\.gguf"):
        open_checkpoint(str(tmp_path / "x.gguf"))
    (tmp_path / "y.gguf").write_bytes(data.replace(b"llama.block_count", b"llama.block_c0unt"))
    with pytest.raises(CheckpointError, match=r"lacks llama\.block_count"):
        open_checkpoint(str(tmp_path / "y.gguf"))
    with pytest.raises(SourceError, match="no such file"):
        open_checkpoint(str(tmp_path / "z.gguf"))
