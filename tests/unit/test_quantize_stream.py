"""Streaming a checkpoint's parameters: order, batches, totals, and what is refused."""

import threading

import numpy as np
import pytest

from mlcweb.errors import CheckpointError
from mlcweb.progress import SilentProgress
from mlcweb.quantize import PackedTensor, Param, get_scheme, packed_tensors
from mlcweb.quantize.group import quantize_group
from mlcweb.quantize.stream import count_bytes, quantize_params
from mlcweb.sources import open_checkpoint
from tests.support.llama_params import LAYER, PARAMS
from tests.support.tiny import TinyLlama, make_llama


@pytest.fixture(scope="module", params=["bfloat16", "float16", "float32"])
def checkpoint(request, tmp_path_factory):
    return open_checkpoint(str(make_llama(tmp_path_factory.mktemp("m"), TinyLlama(dtype=request.param))))


def collect(checkpoint, scheme, **options):
    """Everything the stream yields, concatenated: [(packed tensor, array)]."""
    stream = quantize_params(checkpoint, PARAMS, get_scheme(scheme), **options)
    return [(packed, np.concatenate(list(batches))) for packed, batches in stream]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["q4f16_1", "q4f32_1", "q3f16_1", "q8f32_1", "q4f16_2", "q0f16", "q0f32"])
def test_stream_equals_whole_tensors_cast_then_quantized(checkpoint, scheme):
    expected = []
    activation = get_scheme(scheme).activation
    for param in PARAMS:
        sources = [checkpoint.tensors[name].read().astype(np.float32) for name in param.sources]
        whole = np.concatenate(sources).astype(activation)
        stored = param.stored(get_scheme(scheme))
        expected += [whole] if isinstance(stored, str) else quantize_group(whole, stored)
    got = collect(checkpoint, scheme)
    assert [packed for packed, _ in got] == [
        packed for param in PARAMS for packed in packed_tensors(param, get_scheme(scheme))
    ]
    for (packed, array), reference in zip(got, expected, strict=True):
        assert (array.dtype.name, array.shape) == (packed.dtype, packed.shape), packed.name
        assert array.nbytes == packed.nbytes
        np.testing.assert_array_equal(array, reference)


@pytest.mark.parametrize(
    "options", [{"workers": 1}, {"workers": 5}, {"batch_bytes": 1}, {"batch_bytes": 999}]
)
def test_output_does_not_depend_on_workers_or_batches(checkpoint, options):
    for (packed, array), (_, other) in zip(
        collect(checkpoint, "q4f16_1"), collect(checkpoint, "q4f16_1", **options), strict=True
    ):
        np.testing.assert_array_equal(array, other, err_msg=packed.name)


def test_names_shapes_and_sizes_are_static():
    assert packed_tensors(Param("x", (3, 250), (), True), get_scheme("q4f16_1")) == [
        PackedTensor("x.q_weight", "uint32", (3, 32)),
        PackedTensor("x.q_scale", "float16", (3, 8)),
    ]
    assert packed_tensors(Param("x", (3, 250), (), True), get_scheme("q3f32_1")) == [
        PackedTensor("x.q_weight", "uint32", (3, 28)),
        PackedTensor("x.q_scale", "float32", (3, 7)),
    ]
    assert packed_tensors(Param("x", (3, 250), (), True, part="vocab"), get_scheme("q4f16_2")) == [
        PackedTensor("x.weight", "float16", (3, 250))
    ]
    assert packed_tensors(Param("x", (3, 250), (), True), get_scheme("q0f32")) == [
        PackedTensor("x.weight", "float32", (3, 250))
    ]
    assert [p.name for p in packed_tensors(Param("x", (3,), (), False), get_scheme("q4f16_1"))] == [
        "x.weight"
    ]


def test_a_tensor_whose_batches_are_left_is_skipped_and_the_next_is_right(checkpoint):
    scheme = get_scheme("q4f16_1")
    full = dict(collect(checkpoint, "q4f16_1"))
    for packed, batches in quantize_params(checkpoint, PARAMS, scheme, batch_bytes=4096):
        if packed.name.endswith("q_scale"):
            np.testing.assert_array_equal(np.concatenate(list(batches)), full[packed])


def test_progress_adds_up_to_the_bytes_on_disk(checkpoint):
    class Counting(SilentProgress):
        total = 0

        def advance(self, amount):
            self.total += amount

    progress = Counting()
    collect(checkpoint, "q4f16_1", progress=progress, batch_bytes=1000)
    item = 4 if checkpoint.tensors["model.norm.weight"].dtype == "float32" else 2
    assert (
        progress.total
        == count_bytes(checkpoint, PARAMS, get_scheme("q4f16_1"))
        == (320 * 64 + 64 + 128 * 64 + 64 * 64) * item
    )


def test_look_ahead_is_bounded(checkpoint):
    """With the consumer holding the first batch, no more than twice the workers' batches are read."""
    before = set(threading.enumerate())
    read = []
    tensors = dict(checkpoint.tensors)
    name = "model.embed_tokens.weight"
    original = tensors[name]

    def load(start, stop):
        read.append(start)
        return original.load_rows(start, stop)

    import dataclasses

    tensors[name] = dataclasses.replace(original, load_rows=load)
    watched = dataclasses.replace(checkpoint, tensors=tensors)
    stream = quantize_params(watched, PARAMS[:1], get_scheme("q0f32"), workers=2, batch_bytes=64 * 4)
    _, batches = next(stream)
    next(iter(batches))
    assert len(read) <= 5
    stream.close()
    assert not [t for t in set(threading.enumerate()) - before if t.name.startswith("quantize")]


def test_wrong_sources_are_refused_before_anything_is_read(checkpoint):
    scheme = get_scheme("q4f16_1")
    for param, message in [
        (Param("p", (64, 64), ("nope.weight",), True), "lacks nope.weight"),
        (Param("p", (64, 32), (LAYER + "o_proj.weight",), True), "no part of p"),
        (Param("p", (65, 64), (LAYER + "o_proj.weight",), True), "have 64 rows, expected 65"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            quantize_params(checkpoint, [param], scheme)


def test_an_infinite_weight_names_its_tensor(tmp_path):
    folder = make_llama(tmp_path, TinyLlama(dtype="float32"))
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights[LAYER + "o_proj.weight"][3, 3] = 1e6
    weights["model.norm.weight"][2] = np.nan
    save_file(weights, folder / "model.safetensors")
    checkpoint = open_checkpoint(str(folder))
    quantized = Param("o", (64, 64), (LAYER + "o_proj.weight",), True)
    plain = Param("norm", (64,), ("model.norm.weight",), False)
    for param in (quantized, plain):
        with pytest.raises(CheckpointError, match=param.sources[0]):
            for _, batches in quantize_params(checkpoint, [param], get_scheme("q4f16_1")):
                list(batches)
