"""Writes the ONNX file of a decoder that Transformers.js loads: 4 bits with float16, by ONNX Runtime GenAI's builder.

    .cache/onnx/bin/python -m bench.peers.onnx_decoder CHECKPOINT FOLDER

CHECKPOINT is a folder of config.json, tokenizer and safetensors, with random weights (``bench.random_checkpoint``).
FOLDER gets ``models/builder``: weights in blocks of 32 with a scale each, the head too, and the builder's fused
operators for WebGPU. States of convolutions get the names that Transformers.js knows them by.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnx
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from bench.peers.runtime import write_runtime

_NAME = "model_q4f16.onnx"  # what Transformers.js loads for the dtype q4f16
_DATA = f"{_NAME}_data"
_OPTIONS = ("block_size=32", "is_symmetric=true", "prune_lm_head=true")
_COPIED = ("tokenizer.json", "tokenizer_config.json")


def write_decoder(checkpoint: Path, folder: Path) -> None:
    """The model, its config and tokenizer; ends with an error where the builder does."""
    made = folder / "models" / "builder"
    shutil.rmtree(made, ignore_errors=True)
    (made / "onnx").mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        published, built = Path(scratch, "published"), Path(scratch, "built")
        config = _as_published(checkpoint, published)
        head_size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        command = [
            sys.executable,
            "-m",
            "onnxruntime_genai.models.builder",
            "-i",
            str(published),
            "-o",
            str(built),
        ]
        command += ["-p", "int4", "-e", "webgpu", "-c", scratch, "--extra_options", *_OPTIONS]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f"{done.stdout[-4000:]}\nthe builder failed")
        _adapt(built / "model.onnx", made / "onnx" / _NAME, head_size)
        shutil.move(built / "model.onnx.data", made / "onnx" / _DATA)
    config["transformers.js_config"] = {"use_external_data_format": {_NAME: 1}}
    (made / "config.json").write_text(json.dumps(config, indent=1))


def _as_published(checkpoint: Path, folder: Path) -> dict[str, Any]:
    """Saves the checkpoint with every key and shape as transformers has them, and gives its config."""
    config = AutoConfig.from_pretrained(checkpoint)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    # A convolution over one channel lacks that axis in ours.
    weights = {
        name: tensor.reshape(wanted[name])
        for name, tensor in load_file(checkpoint / "model.safetensors").items()
    }
    missing, _ = model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
    if set(missing) - {"lm_head.weight"}:
        sys.exit(f"{checkpoint} lacks {', '.join(missing)}")
    model.save_pretrained(folder)
    for name in _COPIED:
        shutil.copy(checkpoint / name, folder / name)
    return config.to_dict()


def _adapt(source: Path, target: Path, head_size: int) -> None:
    """Names states and the file of weights as Transformers.js has them, and says how large a head is."""
    model = onnx.load(source, load_external_data=False)
    graph = model.graph

    def renamed(name: str) -> str:
        return re.sub(r"^(past|present)\.(\d+)\.(conv)$", r"\1_\3.\2", name)

    for value in (*graph.input, *graph.output):
        value.name = renamed(value.name)
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == "kv_cache_dim":  # Transformers.js takes a size that it does not know for 0
                dim.dim_value = head_size
    for node in graph.node:
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
    for tensor in graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = _DATA
    onnx.save(model, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    write_decoder(arguments.checkpoint, arguments.folder)
    write_runtime(arguments.folder)
