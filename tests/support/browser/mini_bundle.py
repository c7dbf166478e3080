"""A bundle made by hand: a "language model" whose next token depends on every token before it and its
position, so that a wrong KV cache, roll-back, chunk or launch shows in the answer.

`Mini` predicts what it says.
"""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mlcweb.contract.constants import VERSION, Sampling, State

VOCAB, TABLE, PAGE, PAGES, PREFILL = 260, 1000, 8, 16, 16
END, USER, ASSISTANT, SYSTEM = 256, 257, 258, 259
CHUNK = 1024
MODULUS = 9973

KERNELS = """//// kernel store_chunk
struct Args { n: u32, grid: u32 }
@group(0) @binding(0) var<storage, read> tokens: array<i32>;
@group(0) @binding(1) var<storage, read> state: array<i32>;
@group(0) @binding(2) var<storage, read> page_table: array<i32>;
@group(0) @binding(3) var<storage, read_write> kv: array<i32>;
@group(0) @binding(4) var<uniform> args: Args;
@compute @workgroup_size(8) fn store_chunk(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= args.n) { return; }
  let p = u32(state[0]) + id.x;
  kv[u32(page_table[p / 8u]) * 8u + p % 8u] = tokens[id.x];
}

//// kernel store_token
@group(0) @binding(0) var<storage, read> state: array<i32>;
@group(0) @binding(1) var<storage, read> page_table: array<i32>;
@group(0) @binding(2) var<storage, read_write> kv: array<i32>;
@group(0) @binding(3) var<uniform> grid: u32;
@compute @workgroup_size(1) fn store_token() {
  let p = u32(state[0]);
  kv[u32(page_table[p / 8u]) * 8u + p % 8u] = state[1];
}

//// kernel head
@group(0) @binding(0) var<storage, read> state: array<i32>;
@group(0) @binding(1) var<storage, read> page_table: array<i32>;
@group(0) @binding(2) var<storage, read> kv: array<i32>;
@group(0) @binding(3) var<storage, read> next: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read> scale: array<u32>;
@group(0) @binding(6) var<storage, read_write> logits: array<f32>;
@group(0) @binding(7) var<uniform> grid: u32;
@compute @workgroup_size(64) fn head(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= 260u) { return; }
  var sum = 0u;
  for (var p = 0u; p < u32(state[0] + state[2]); p++) {
    sum = (sum + u32(kv[u32(page_table[p / 8u]) * 8u + p % 8u] + 1) * (p + 1u)) % 9973u;
  }
  let top = select(0.0, 8.0, id.x == next[sum % 1000u]);
  logits[id.x] = (top + bias[(id.x + sum) % 260u]) * unpack2x16float(scale[1]).x;
}

//// kernel mask
@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<uniform> grid: u32;
@compute @workgroup_size(64) fn mask(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < 260u && ((words[id.x / 32u] >> (id.x % 32u)) & 1u) == 0u) { logits[id.x] = -1e38; }
}

//// kernel pick
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> sampling: array<i32>;
@group(0) @binding(2) var<storage, read_write> state: array<i32>;
@group(0) @binding(3) var<uniform> grid: u32;
@compute @workgroup_size(1) fn pick() {
  var best = 0u;
  let temperature = bitcast<f32>(sampling[0]);
  for (var i = 1u; i < 260u; i++) { if (logits[i] > logits[best]) { best = i; } }
  if (temperature > 0.0) {
    let most = logits[best];
    var sum = 0.0;
    for (var i = 0u; i < 260u; i++) { sum += exp((logits[i] - most) / temperature); }
    var h = u32(sampling[3]) * 747796405u + u32(state[3]) * 2891336453u + 1u;
    h = ((h >> ((h >> 28u) + 4u)) ^ h) * 277803737u;
    var left = f32((h >> 22u) ^ h) / 4294967296.0 * sum;
    for (var i = 0u; i < 260u; i++) {
      left -= exp((logits[i] - most) / temperature);
      if (left < 0.0) { best = i; break; }
    }
  }
  state[0] = state[0] + state[2];
  state[1] = i32(best);
  state[2] = 1;
  state[3] = state[3] + 1;
}
"""

HOST = """
typedef unsigned u32;
static void record(u32 *out, int i, u32 x, u32 a, u32 b) {
  out += i * 5; out[0] = x; out[1] = 1; out[2] = 1; out[3] = a; out[4] = b;
}
void mini_prefill(int n, u32 *out) {
  record(out, 0, (n + 7) / 8, n, (n + 7) / 8); record(out, 1, 5, 5, 0); record(out, 2, 0, 0, 0);
}
void mini_decode(u32 *out) { record(out, 0, 1, 1, 0); record(out, 1, 5, 5, 0); }
void mini_mask(u32 *out) { record(out, 0, 5, 5, 0); }
void mini_sample(u32 *out) { record(out, 0, 1, 1, 0); }
void host_sample(float *logits, int *counts, float *params, float *probs, int *token, int vocab) {
  int best = 0;
  for (int i = 0; i < vocab; i++) {
    if (counts[i] > 0) {
      logits[i] = logits[i] > 0 ? logits[i] / params[4] : logits[i] * params[4];
      logits[i] -= params[5] * counts[i] + params[6];
    }
    probs[i] = 0;
    if (logits[i] > logits[best]) best = i;
  }
  probs[best] = 1;
  *token = best;
}
"""


@functools.cache
def wasm() -> bytes:
    """HOST, compiled once."""
    names = ["mini_prefill", "mini_decode", "mini_mask", "mini_sample", "host_sample", "__heap_base"]
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "host.c"), Path(folder, "host.wasm")
        source.write_text(HOST)
        flags = ["-target", "wasm32-freestanding", "-O2", "-nostdlib", "-Wl,--no-entry"]
        exports = [f"-Wl,--export={name}" for name in names]
        subprocess.run(
            [sys.executable, "-m", "ziglang", "cc", *flags, *exports, "-o", str(out), str(source)], check=True
        )
        return out.read_bytes()


def bytes_to_unicode() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in plain}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(plain))
    return table


SPECIAL = {END: "<|end|>", USER: "<|user|>", ASSISTANT: "<|assistant|>", SYSTEM: "<|system|>"}
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer() -> tuple[dict[str, Any], dict[str, Any]]:
    """Byte-level BPE without merges: token i is byte i."""
    added = [
        {
            "id": i,
            "content": t,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i, t in SPECIAL.items()
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {c: b for b, c in bytes_to_unicode().items()},
            "merges": [],
        },
    }, {"eos_token": "<|end|>", "chat_template": TEMPLATE, "clean_up_tokenization_spaces": False}


def chat_tokens(*turns: tuple[str, str]) -> list[int]:
    """What the template and tokenizer make of (role, content) pairs."""
    ids = {text: i for i, text in SPECIAL.items()}
    out: list[int] = []
    for role, content in turns:
        out += [ids[f"<|{role}|>"], *content.encode(), END]
    return [*out, ASSISTANT]


class Mini:
    """The model's weights and what it answers."""

    def __init__(self, seed: int = 1, ends: bool = True, pages: int = PAGES) -> None:
        self.pages = pages
        rng = np.random.default_rng(seed)
        self.next = rng.integers(97, 123, TABLE).astype(np.uint32)
        if ends:
            self.next[rng.choice(TABLE, TABLE // 16, replace=False)] = END
        self.bias = rng.random(VOCAB).astype(np.float32)
        self.scale = np.array([3, 5, 0.75], np.float16)

    def logits(self, tokens: list[int]) -> np.ndarray:
        total = 0
        for p, token in enumerate(tokens):
            total = (total + (token + 1) * (p + 1)) % MODULUS
        out = self.bias[(np.arange(VOCAB) + total) % VOCAB].copy()
        out[self.next[total % TABLE]] += 8
        return out * np.float32(self.scale[2])

    def greedy(self, tokens: list[int], count: int) -> list[int]:
        out: list[int] = []
        for _ in range(count):
            out.append(int(np.argmax(self.logits([*tokens, *out]))))
        return out

    def answer(self, tokens: list[int], max_tokens: int = 10_000) -> list[int]:
        """Greedy tokens until the end token, which is not among them, or the context's end."""
        room = min(max_tokens, PAGE * self.pages - len(tokens))
        greedy = self.greedy(tokens, room)
        return greedy[: greedy.index(END)] if END in greedy else greedy

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        files: dict[str, dict[str, Any]] = {}

        def put(stem: str, suffix: str, data: bytes | str | dict[str, Any]) -> str:
            raw = (
                data
                if isinstance(data, bytes)
                else (data if isinstance(data, str) else json.dumps(data)).encode()
            )
            digest = hashlib.sha256(raw).hexdigest()
            name = f"{stem}.{digest[:8]}.{suffix}"
            (folder / name).write_bytes(raw)
            files[name] = {"bytes": len(raw), "sha256": digest}
            return name

        stream, tensors = bytearray(), []
        arrays = {
            "unused": np.arange(700, dtype=np.float32),
            "next": self.next,
            "bias": self.bias,
            "scale": self.scale,
        }
        for name, array in arrays.items():
            stream += bytes(-len(stream) % 16)
            tensors.append(
                {
                    "name": name,
                    "dtype": str(array.dtype),
                    "shape": list(array.shape),
                    "offset": len(stream),
                    "bytes": array.nbytes,
                }
            )
            stream += array.tobytes()
        stream += bytes(-len(stream) % 16)
        chunks = [
            put(f"weights-{i // CHUNK:03}", "bin", bytes(stream[i : i + CHUNK]))
            for i in range(0, len(stream), CHUNK)
        ]
        tokens, config = tokenizer()
        prompt = chat_tokens(("user", "validate"))
        greedy = self.greedy(prompt, 8)
        steps = []
        for i in range(8):
            logits = self.logits(prompt + greedy[:i])
            order = np.argsort(-logits)[:8]
            steps.append(
                {
                    "top": [[int(t), float(logits[t])] for t in order],
                    "range": float(logits.max() - logits.min()),
                }
            )
        manifest = {
            "format": "mlcweb-bundle",
            "version": VERSION,
            "name": "mini",
            "created_by": "tests",
            "model": {
                "family": "mini",
                "quantization": "none",
                "parameters": 1260,
                "vocab_size": VOCAB,
                "hidden_size": 1,
                "layers": 1,
                "heads": 1,
                "kv_heads": 1,
                "head_dim": 1,
                "context_length": PAGE * self.pages,
                "prefill_chunk": PREFILL,
                "page_size": PAGE,
                "source": {"kind": "tests"},
                "licence": "apache-2.0",
            },
            "tokenizer": {
                "tokenizer": put("tokenizer", "json", tokens),
                "config": put("tokenizer_config", "json", config),
                "eos_token_ids": [END],
            },
            "wasm": put("model", "wasm", wasm()),
            "tiers": [
                {
                    "name": "f16",
                    "features": ["shader-f16", "no-such-feature"],
                    "limits": {},
                    "plan": put("plan.f16", "json", plan("f16", self.pages)),
                    "kernels": put("kernels.f16", "wgsl", KERNELS),
                },
                {
                    "name": "base",
                    "features": [],
                    "limits": {},
                    "plan": put("plan.base", "json", plan("base", self.pages)),
                    "kernels": put("kernels.base", "wgsl", KERNELS),
                },
            ],
            "weights": {"chunks": chunks, "bytes": len(stream), "tensors": tensors},
            "memory": {"weights": len(stream), "kv_per_token": 4, "scratch": 0},
            "validation": put(
                "validation",
                "json",
                {
                    "prompt": "validate",
                    "tokens": prompt,
                    "greedy": greedy,
                    "steps": steps,
                    "tolerance": {"float32": 1e-4, "float16": 1e-2},
                },
            ),
            "files": files,
        }
        (folder / "mlcweb.json").write_text(json.dumps(manifest))
        return folder


def plan(tier: str, pages: int = PAGES) -> dict[str, Any]:
    buffers: list[dict[str, Any]] = [
        {"name": "tokens", "kind": "input", "bytes": 4 * PREFILL},
        {"name": "state", "kind": "input", "bytes": State.BYTES},
        {"name": "page_table", "kind": "input", "bytes": 4 * pages},
        {"name": "sampling", "kind": "input", "bytes": Sampling.BYTES},
        {"name": "logits", "kind": "output", "bytes": 4 * VOCAB},
        {"name": "mask", "kind": "input", "bytes": 4 * -(-VOCAB // 32)},
        {"name": "kv.0", "kind": "kv", "page_bytes": 4 * PAGE, "pages": pages},
        {"name": "next", "kind": "weight", "bytes": 4 * TABLE},
        {"name": "bias", "kind": "weight", "bytes": 4 * VOCAB},
        {"name": "scale", "kind": "weight", "bytes": 6},
    ]
    names = [b["name"] for b in buffers]
    ro, rw, uniform = "read-only-storage", "storage", "uniform"
    kernels = [
        {"name": "store_chunk", "bindings": [ro, ro, ro, rw, uniform], "uniform_words": 2},
        {"name": "store_token", "bindings": [ro, ro, rw, uniform], "uniform_words": 1},
        {"name": "head", "bindings": [ro, ro, ro, ro, ro, ro, rw, uniform], "uniform_words": 1},
        {"name": "mask", "bindings": [ro, rw, uniform], "uniform_words": 1},
        {"name": "pick", "bindings": [ro, ro, rw, uniform], "uniform_words": 1},
    ]

    def launch(kernel: int, *args: str) -> dict[str, Any]:
        return {"kernel": kernel, "op": kernels[kernel]["name"], "args": [names.index(a) for a in args]}

    head = launch(2, "state", "page_table", "kv.0", "next", "bias", "scale", "logits")
    store = launch(1, "state", "page_table", "kv.0")
    pick = launch(4, "logits", "sampling", "state")
    return {
        "tier": tier,
        "buffers": buffers,
        "kernels": kernels,
        "entries": {
            # The third launch has an empty grid: it must be skipped, or it would overwrite the prompt.
            "prefill": {
                "dims": ["n"],
                "launch": "mini_prefill",
                "record_words": 5,
                "launches": [launch(0, "tokens", "state", "page_table", "kv.0"), head, store],
            },
            "decode": {"dims": [], "launch": "mini_decode", "record_words": 5, "launches": [store, head]},
            "mask": {
                "dims": [],
                "launch": "mini_mask",
                "record_words": 5,
                "launches": [launch(3, "mask", "logits")],
            },
            "sample": {"dims": [], "launch": "mini_sample", "record_words": 5, "launches": [pick]},
        },
    }
