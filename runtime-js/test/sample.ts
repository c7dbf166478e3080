// Makes a small valid manifest and plan for tests to break.
import { type Manifest, parseManifest } from "../src/bundle/index.js";

export const HASH = "0".repeat(64);
// biome-ignore lint/suspicious/noExplicitAny: tests break whatever is in it, at any depth.
export type Any = Record<string, any>;

export function manifestJson(): Any {
  const names = ["w0.bin", "w1.bin", "w2.bin", "plan.json", "k.wgsl", "m.wasm", "t.json", "c.json"];
  const sizes: Any = { "w0.bin": 64, "w1.bin": 64, "w2.bin": 32 };
  return {
    format: "mlcweb-bundle",
    version: 1,
    name: "sample",
    created_by: "test",
    model: {
      family: "llama",
      quantization: "q4f32_1",
      parameters: 10,
      vocab_size: 16,
      hidden_size: 4,
      layers: 1,
      heads: 1,
      kv_heads: 1,
      head_dim: 4,
      context_length: 64,
      prefill_chunk: 8,
      page_size: 16,
      source: { kind: "hub", id: "a/b", revision: "c" },
      licence: "mit",
    },
    tokenizer: { tokenizer: "t.json", config: "c.json", eos_token_ids: [2] },
    wasm: "m.wasm",
    tiers: [{ name: "base", features: [], limits: {}, plan: "plan.json", kernels: "k.wgsl" }],
    weights: {
      chunks: ["w0.bin", "w1.bin", "w2.bin"],
      bytes: 160,
      tensors: [
        { name: "a", dtype: "float32", shape: [4, 5], offset: 0, bytes: 80 },
        { name: "b", dtype: "float16", shape: [3], offset: 80, bytes: 6 },
        { name: "c", dtype: "uint32", shape: [16], offset: 96, bytes: 64 },
      ],
    },
    memory: { weights: 160, kv_per_token: 8, scratch: 0 },
    files: Object.fromEntries(names.map((name) => [name, { bytes: sizes[name] ?? 10, sha256: HASH }])),
  };
}

export const manifest = (): Manifest => parseManifest(JSON.stringify(manifestJson()));

export function planJson(): Any {
  return {
    tier: "base",
    buffers: [
      { name: "a", kind: "weight", bytes: 80 },
      { name: "kv.0", kind: "kv", page_bytes: 64, pages: 4 },
      { name: "tokens", kind: "input", bytes: 32 },
      { name: "state", kind: "input", bytes: 32 },
      { name: "page_table", kind: "input", bytes: 16 },
      { name: "sampling", kind: "input", bytes: 32 },
      { name: "logits", kind: "output", bytes: 64 },
    ],
    kernels: [{ name: "k", bindings: ["read-only-storage", "storage", "uniform"], uniform_words: 2 }],
    entries: {
      prefill: { dims: ["n"], launch: "p", record_words: 5, launches: [{ kernel: 0, args: [0, 6] }] },
      decode: { dims: [], launch: "d", record_words: 5, launches: [{ kernel: 0, args: [0, 6] }] },
      sample: { dims: [], launch: "s", record_words: 5, launches: [{ kernel: 0, args: [6, 3] }] },
    },
  };
}
