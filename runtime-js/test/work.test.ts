import { describe, expect, it } from "vitest";
import type { PlanBuffer, PlanKernel } from "../src/plan/index.js";
import { type Work, workOf } from "../src/profile/work.js";
import { manifest } from "./sample.js";

const base = manifest();
const model = {
  ...base.model,
  quantization: "q4f16_1",
  heads: 4,
  kv_heads: 2,
  head_dim: 8,
  page_size: 16,
  vocab_size: 64,
  hidden_size: 32,
};
const tensor = (name: string, dtype: "uint32" | "float16" | "float32", shape: number[]) =>
  [
    name,
    { name, dtype, shape, offset: 0, bytes: shape.reduce((a, b) => a * b) * (dtype === "float16" ? 2 : 4) },
  ] as const;
const tensors = new Map([
  tensor("m.q_weight", "uint32", [64, 4]),
  tensor("m.q_scale", "float16", [64, 1]),
  tensor("norm.weight", "float32", [32]),
  tensor("rope.coarse.weight", "float32", [100, 8]),
  tensor("plain.weight", "float16", [64, 32]),
]) as typeof base.tensors;
const weight = (name: string): PlanBuffer => ({ name, kind: "weight", bytes: tensors.get(name)!.bytes });
const kv: PlanBuffer = { name: "kv.0", kind: "kv", pageBytes: 2 * 16 * 2 * 8 * 4, pages: 4 };
const work = (
  op: string,
  buffers: PlanBuffer[],
  tokens: number,
  position: number,
  kernel: Partial<PlanKernel> = {},
): Work =>
  workOf(
    { op, kernel: { name: "k", bindings: [], uniformWords: 1, ...kernel }, buffers },
    { model, tensors },
    tokens,
    position,
  );
/** Of the matrix `m`. */
const weights = 64 * 32;

describe("the work of a launch", () => {
  const matrix = ["m.q_weight", "m.q_scale", "norm.weight"].map(weight);
  it("is two operations a weight and token for a product, however they are stored", () => {
    expect(work("qkv", matrix, 1, 9, { weights })).toEqual({
      weight_bytes: 64 * 16 + 128 + 128,
      kv_bytes: 0,
      flops: 2 * 64 * 32,
    });
    expect(work("qkv", matrix, 7, 0, { weights }).flops).toBe(7 * 2 * 64 * 32);
  });
  it("is the last token's alone for a chunk's logits", () => {
    expect(work("head", matrix, 7, 0, { weights }).flops).toBe(2 * 64 * 32);
  });
  it("counts the bytes of a tensor that is bound twice once", () => {
    expect(work("o", [weight("plain.weight"), weight("plain.weight")], 1, 0, { weights })).toEqual({
      weight_bytes: 64 * 64,
      kv_bytes: 0,
      flops: 2 * 64 * 32,
    });
  });
  it("is the looked-up rows for an embedding", () => {
    expect(work("embed", matrix.slice(0, 2), 8, 0, { weights })).toEqual({
      weight_bytes: (64 * 16 + 128) / 8,
      kv_bytes: 0,
      flops: 0,
    });
  });
  it("is causal for attention, and reads every key and value once", () => {
    const rope = weight("rope.coarse.weight");
    expect(work("attend", [rope, kv], 1, 9)).toEqual({
      weight_bytes: 0,
      kv_bytes: 10 * 2 * 2 * 8 * 4,
      flops: 4 * 4 * 8 * 10,
    });
    // three queries after two tokens see 3, 4 and 5
    expect(work("attend", [kv], 3, 2).flops).toBe(4 * 4 * 8 * 12);
    expect(work("rope", [rope, kv], 3, 2)).toEqual({ weight_bytes: 0, kv_bytes: 0, flops: 0 });
  });
  it("ends at a window", () => {
    expect(work("attend", [kv], 1, 9, { reads: { window: 4 } })).toEqual({
      weight_bytes: 0,
      kv_bytes: 4 * 2 * 2 * 8 * 4,
      flops: 4 * 4 * 8 * 4,
    });
    expect(work("attend", [kv], 1, 2, { reads: { window: 4 } })).toEqual(work("attend", [kv], 1, 2));
    // three queries that see 3, 4 and 4 tokens, of 5 in all
    expect(work("attend", [kv], 3, 2, { reads: { window: 4 } })).toEqual({
      weight_bytes: 0,
      kv_bytes: 5 * 2 * 2 * 8 * 4,
      flops: 4 * 4 * 8 * 11,
    });
    expect(work("attend", [kv], 3, 20, { reads: { window: 4 } }).kv_bytes).toBe(6 * 2 * 2 * 8 * 4);
  });
  it("is that of the experts that tokens chose", () => {
    const reads = { experts: 8, choices: 2 };
    expect(work("experts_gate_up", matrix, 1, 9, { weights, reads })).toEqual({
      weight_bytes: (64 * 16 + 128) / 4 + 128,
      kv_bytes: 0,
      flops: (2 * 64 * 32) / 4,
    });
    expect(work("experts_down", matrix, 7, 0, { weights, reads })).toEqual({
      weight_bytes: 64 * 16 + 128 + 128,
      kv_bytes: 0,
      flops: (7 * 2 * 64 * 32) / 4,
    });
  });
});
