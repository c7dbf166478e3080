"""Writes the ONNX files of an encoder that Transformers.js loads: as torch exports them, and with fused operators.

    .cache/onnx/bin/python -m bench.peers.onnx_encoder CHECKPOINT FOLDER

CHECKPOINT is a folder of config.json, tokenizer and safetensors, with real or random weights
(``bench.random_checkpoint``). FOLDER gets ``models/exported`` and ``models/fused``. Both have float32 and float16
weights; the first also has dynamic int8 (``q8``) and 4 bits in blocks of 32 with float16 (``q4f16``), under the names
that Transformers.js gives them. ``fused`` is what ONNX Runtime's optimizer for transformers makes of the first.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime import InferenceSession
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model
from transformers import AutoModel

from bench.peers.runtime import write_runtime

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_OUTPUT = "last_hidden_state"
_COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_OPSET = 17  # the exporter's default for graphs that the optimizer knows


class _Encoder(torch.nn.Module):
    """An encoder with its inputs in the graph's order; the last layer's rows come out, of shape [B, T, D]."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, types_BT: torch.Tensor) -> torch.Tensor:
        outputs = self.model(input_ids=ids_BT, attention_mask=mask_BT, token_type_ids=types_BT)
        rows_BTD: torch.Tensor = outputs.last_hidden_state
        return rows_BTD


def write_encoder(checkpoint: Path, folder: Path) -> None:
    """Both models; ends with an error where a float32 one's rows are not transformers'."""
    encoder = _Encoder(
        AutoModel.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager")
    )
    encoder.eval()
    exported, fused = (folder / "models" / name for name in ("exported", "fused"))
    for made in (exported, fused):
        (made / "onnx").mkdir(parents=True, exist_ok=True)
        for name in _COPIED:
            if (checkpoint / name).exists():
                shutil.copy(checkpoint / name, made / name)
    plain = exported / "onnx" / "model.onnx"
    _export(encoder, plain)
    _halve(onnx.load(plain), exported / "onnx" / "model_fp16.onnx")
    quantize_dynamic(
        plain,
        exported / "onnx" / "model_quantized.onnx",
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
    )
    _to_four_bits(plain, exported / "onnx" / "model_q4f16.onnx")
    config = json.loads((checkpoint / "config.json").read_text())
    options = FusionOptions("bert")
    options.use_multi_head_attention = True  # the one that ONNX Runtime has for WebGPU
    options.enable_embed_layer_norm = False  # that one runs on the CPU alone
    heads, size = config["num_attention_heads"], config["hidden_size"]
    optimized = optimize_model(
        str(plain), "bert", num_heads=heads, hidden_size=size, optimization_options=options, opt_level=0
    )
    _mask_by_bias(optimized.model)
    onnx.save(optimized.model, fused / "onnx" / "model.onnx")
    _halve(optimized.model, fused / "onnx" / "model_fp16.onnx")
    for made in (exported, fused):
        _check(encoder, made / "onnx" / "model.onnx", config["vocab_size"])


def _export(encoder: _Encoder, path: Path) -> None:
    ids_BT = torch.randint(5, 100, (2, 32))
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[0, 20:] = 0
    torch.onnx.export(
        encoder,
        (ids_BT, mask_BT, torch.zeros_like(ids_BT)),
        str(path),
        input_names=list(_INPUTS),
        output_names=[_OUTPUT],
        dynamic_axes={name: {0: "batch_size", 1: "sequence_length"} for name in (*_INPUTS, _OUTPUT)},
        opset_version=_OPSET,
        dynamo=False,  # the optimizer finds attention in what this exporter writes, and not in the other's
    )


def _halve(model: onnx.ModelProto, path: Path) -> None:
    half = convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
    onnx.save(half, path)


def _to_four_bits(plain: Path, path: Path) -> None:
    quantizer = MatMulNBitsQuantizer(onnx.load(plain), block_size=32, is_symmetric=True)
    quantizer.process()
    _halve(quantizer.model.model, path)


def _mask_by_bias(model: onnx.ModelProto) -> None:
    """Gives attention its mask as a bias of shape [B, 1, T, T], since ONNX Runtime's for WebGPU takes no other."""
    graph, prefix = model.graph, "bias_of_mask"
    constants = {"keys": [1, 2], "queries": [1, 3], "one": 1.0, "low": 10000.0, "zero": 0.0}
    for name, value in constants.items():
        array = np.array(value, np.int64 if isinstance(value, list) else np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(array, f"{prefix}_{name}"))
    steps = [
        ("Cast", ["attention_mask"], "float", {"to": onnx.TensorProto.FLOAT}),
        ("Unsqueeze", [f"{prefix}_float", f"{prefix}_keys"], "B11T", {}),
        ("Unsqueeze", [f"{prefix}_float", f"{prefix}_queries"], "B1T1", {}),
        ("Sub", [f"{prefix}_B11T", f"{prefix}_one"], "masked", {}),
        ("Mul", [f"{prefix}_masked", f"{prefix}_low"], "bias_B11T", {}),
        ("Mul", [f"{prefix}_B1T1", f"{prefix}_zero"], "zero_B1T1", {}),
        ("Add", [f"{prefix}_bias_B11T", f"{prefix}_zero_B1T1"], "bias_B1TT", {}),
    ]
    for i, (kind, inputs, output, attributes) in enumerate(steps):
        made = onnx.helper.make_node(kind, inputs, [f"{prefix}_{output}"], **attributes)
        graph.node.insert(i, made)
    for node in graph.node:
        if node.op_type == "MultiHeadAttention":
            q, k, v, bias = node.input[:4]
            node.input[:] = [q, k, v, bias, "", f"{prefix}_bias_B1TT"]
    needed = {name for node in graph.node for name in node.input}
    unused = [
        node for node in graph.node if node.op_type == "ReduceSum" and not needed.intersection(node.output)
    ]
    for node in unused:
        graph.node.remove(node)


def _check(encoder: _Encoder, path: Path, vocabulary: int) -> None:
    """Compares rows of two texts, of which one is padded."""
    ids_BT = torch.randint(0, vocabulary, (2, 24))
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[1, 13:] = 0
    types_BT = torch.zeros_like(ids_BT)
    with torch.no_grad():
        wanted_BTD = encoder(ids_BT, mask_BT, types_BT).numpy()
    feeds = dict(zip(_INPUTS, (ids_BT.numpy(), mask_BT.numpy(), types_BT.numpy()), strict=True))
    (rows_BTD,) = InferenceSession(path).run(None, feeds)
    off_BT = np.linalg.norm(rows_BTD - wanted_BTD, axis=2) / np.linalg.norm(wanted_BTD, axis=2)
    largest = float(off_BT[mask_BT.numpy() > 0].max())
    print(f"{path}: rows differ from transformers' by at most {largest:.1e} of their length")
    if largest > 1e-4:
        sys.exit(f"{path} is not the checkpoint's model")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    write_encoder(arguments.checkpoint, arguments.folder)
    write_runtime(arguments.folder)
