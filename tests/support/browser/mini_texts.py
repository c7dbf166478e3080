"""Bundles of whole texts made by hand: an "embedding model" and a "reranker" whose numbers depend on every token, its
place, its type and where its text ends, so that a wrong call shows in the answer.

``MiniTexts`` predicts what they say.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from mlcweb.contract.constants import VERSION, Place
from tests.fixtures.text.make_tokenizers import path_of

LIMIT, CHUNK_TOKENS, DIMENSIONS, ODD = 24, 64, 8, 31

KERNELS = """//// kernel pool
struct Args { n: u32, b: u32 }
@group(0) @binding(0) var<storage, read> tokens: array<i32>;
@group(0) @binding(1) var<storage, read> places: array<vec4<i32>>;
@group(0) @binding(2) var<storage, read> texts: array<i32>;
@group(0) @binding(3) var<storage, read> table: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;
@group(0) @binding(5) var<uniform> args: Args;
@compute @workgroup_size(64) fn pool(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= args.b * 8u) { return; }
  let first = texts[id.x / 8u];
  let end = places[first].y;
  var sum = 0.0;
  for (var i = first; i < end; i++) {
    let place = places[i];
    let weight = f32((place.z * 7 + place.w * 3 + (place.y - place.x)) % 31 + 1);
    sum += table[u32(tokens[i]) * 8u + id.x % 8u] * weight;
  }
  if (u32(end) <= args.n) { sums[id.x] = sum; }
}

//// kernel unit
@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read_write> embeddings: array<f32>;
@group(0) @binding(2) var<uniform> b: u32;
@compute @workgroup_size(64) fn unit(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= b) { return; }
  var square = 0.0;
  for (var d = 0u; d < 8u; d++) { square += sums[id.x * 8u + d] * sums[id.x * 8u + d]; }
  for (var d = 0u; d < 8u; d++) { embeddings[id.x * 8u + d] = sums[id.x * 8u + d] * inverseSqrt(square); }
}

//// kernel first
@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read_write> scores: array<f32>;
@group(0) @binding(2) var<uniform> b: u32;
@compute @workgroup_size(64) fn first(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < b) { scores[id.x] = sums[id.x * 8u] / 64.0; }
}
"""

HOST = """
typedef unsigned u32;
void mini_texts(int n, int b, u32 *out) {
  out[0] = (b * 8 + 63) / 64; out[1] = 1; out[2] = 1; out[3] = n; out[4] = b;
  out[5] = (b + 63) / 64; out[6] = 1; out[7] = 1; out[8] = b; out[9] = 0;
}
"""


@functools.cache
def wasm() -> bytes:
    """HOST, compiled once."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "host.c"), Path(folder, "host.wasm")
        source.write_text(HOST)
        flags = ["-target", "wasm32-freestanding", "-O2", "-nostdlib", "-Wl,--no-entry"]
        exports = [f"-Wl,--export={name}" for name in ("mini_texts", "__heap_base")]
        command = [sys.executable, "-m", "ziglang", "cc", *flags, *exports, "-o", str(out), str(source)]
        subprocess.run(command, check=True)
        return out.read_bytes()


@dataclass
class MiniTexts:
    """The weights of a model of whole texts, and what it answers."""

    reranks: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    """Added to the manifest's ``embedding`` or ``reranking``."""

    def __post_init__(self) -> None:
        definition = json.loads(path_of("bert").read_text(encoding="utf-8"))["tokenizer"]
        self.definition = json.dumps(definition)
        self.tokenizer = Tokenizer.from_str(self.definition)
        self.vocab_size = self.tokenizer.get_vocab_size()
        rng = np.random.default_rng(5)
        self.table = rng.standard_normal((self.vocab_size, DIMENSIONS)).astype(np.float32)

    def tokens(self, text: str, second: str | None = None) -> list[int]:
        """With special tokens, cut to the model's limit."""
        self.tokenizer.enable_truncation(LIMIT, strategy="longest_first")
        return list(self.tokenizer.encode(text, second).ids)

    def sums(self, text: str, second: str | None = None) -> np.ndarray:
        self.tokenizer.enable_truncation(LIMIT, strategy="longest_first")
        encoding = self.tokenizer.encode(text, second)
        return self.of_tokens(encoding.ids, encoding.type_ids)

    def of_tokens(self, ids: list[int], types: list[int] | None = None) -> np.ndarray:
        positions, kinds = np.arange(len(ids)), np.array(types or [0] * len(ids))
        weights = (positions * 7 + kinds * 3 + len(ids)) % ODD + 1
        total: np.ndarray = (self.table[ids] * weights[:, None].astype(np.float32)).sum(0)
        return total

    def embedding(self, text: str, size: int = DIMENSIONS) -> np.ndarray:
        return unit(unit(self.sums(text))[:size])

    def score(self, query: str, document: str) -> float:
        return float(self.sums(query, document)[0] / 64)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        files: dict[str, dict[str, Any]] = {}

        def put(stem: str, suffix: str, data: bytes | str | dict[str, Any]) -> str:
            text = data if isinstance(data, (bytes, str)) else json.dumps(data)
            raw = text if isinstance(text, bytes) else text.encode()
            digest = hashlib.sha256(raw).hexdigest()
            name = f"{stem}.{digest[:8]}.{suffix}"
            (folder / name).write_bytes(raw)
            files[name] = {"bytes": len(raw), "sha256": digest}
            return name

        stream = self.table.tobytes()
        stream += bytes(-len(stream) % 16)
        tensor = {"name": "table", "dtype": "float32", "shape": [self.vocab_size, DIMENSIONS]}
        embedding = {
            "dimensions": DIMENSIONS,
            "pooling": "mean",
            "normalized": True,
            "similarity": "cosine",
            "matryoshka": [4, 8],
            "prompts": {"query": "the query: ", "none": ""},
        }
        does = {"reranking": {"activation": "sigmoid"}} if self.reranks else {"embedding": embedding}
        for facts in does.values():
            facts.update(self.facts)
        manifest = {
            "format": "mlcweb-bundle",
            "version": VERSION,
            "name": "mini-texts",
            "created_by": "tests",
            "model": {
                "family": "mini",
                "quantization": "none",
                "parameters": self.table.size,
                "vocab_size": self.vocab_size,
                "hidden_size": DIMENSIONS,
                "layers": 1,
                "heads": 1,
                "kv_heads": 1,
                "head_dim": 1,
                "context_length": LIMIT,
                "prefill_chunk": CHUNK_TOKENS,
                "page_size": 16,
                "source": {"kind": "tests"},
                "licence": "apache-2.0",
            },
            "tokenizer": {
                "tokenizer": put("tokenizer", "json", self.definition),
                "config": put("tokenizer_config", "json", {"pad_token": "[PAD]"}),
                "eos_token_ids": [3],
            },
            "wasm": put("model", "wasm", wasm()),
            "tiers": [
                {
                    "name": "base",
                    "features": [],
                    "limits": {},
                    "plan": put("plan.base", "json", self.plan()),
                    "kernels": put("kernels.base", "wgsl", KERNELS),
                }
            ],
            "weights": {
                "chunks": [put("weights-000", "bin", stream)],
                "bytes": len(stream),
                "tensors": [{**tensor, "offset": 0, "bytes": self.table.nbytes}],
            },
            "memory": {"weights": len(stream), "kv_per_token": 0, "scratch": 0},
            "validation": put("validation", "json", self.validation()),
            **does,
            "files": files,
        }
        (folder / "mlcweb.json").write_text(json.dumps(manifest))
        return folder

    def validation(self) -> dict[str, Any]:
        texts: list[dict[str, Any]] = []
        for text, document in (("The browser compiles.", "Kernels run."), ("ΟΔΟΣ 漢字", "日本"), ("", "x")):
            if self.reranks:
                read: dict[str, Any] = {"text": text, "document": document}
                read |= {"tokens": self.tokens(text, document), "output": [self.score(text, document)]}
            else:
                read = {"text": text, "tokens": self.tokens(text), "output": self.embedding(text).tolist()}
            texts.append(read)
        return {"texts": texts, "tolerance": {"float32": 1e-5, "float16": 1e-2}}

    def plan(self) -> dict[str, Any]:
        output = "scores" if self.reranks else "embeddings"
        width = 1 if self.reranks else DIMENSIONS
        buffers = [
            {"name": "tokens", "kind": "input", "bytes": 4 * CHUNK_TOKENS},
            {"name": "places", "kind": "input", "bytes": Place.BYTES * CHUNK_TOKENS},
            {"name": "texts", "kind": "input", "bytes": 4 * CHUNK_TOKENS},
            {"name": "table", "kind": "weight", "bytes": self.table.nbytes},
            {"name": "sums", "kind": "scratch", "bytes": 4 * CHUNK_TOKENS * DIMENSIONS},
            {"name": output, "kind": "output", "bytes": 4 * CHUNK_TOKENS * width},
        ]
        ro, rw, uniform = "read-only-storage", "storage", "uniform"
        last = "first" if self.reranks else "unit"
        return {
            "tier": "base",
            "buffers": buffers,
            "kernels": [
                {"name": "pool", "bindings": [ro, ro, ro, ro, rw, uniform], "uniform_words": 2},
                {"name": last, "bindings": [ro, rw, uniform], "uniform_words": 1},
            ],
            "entries": {
                "score" if self.reranks else "embed": {
                    "dims": ["n", "b"],
                    "launch": "mini_texts",
                    "record_words": 5,
                    "launches": [
                        {"kernel": 0, "op": "pool", "args": [0, 1, 2, 3, 4]},
                        {"kernel": 1, "op": last, "args": [4, 5]},
                    ],
                }
            },
        }


def unit(vector: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = vector / np.linalg.norm(vector)
    return scaled


def from_base64(text: str) -> list[float]:
    return [float(x) for x in np.frombuffer(base64.b64decode(text), "<f4")]
