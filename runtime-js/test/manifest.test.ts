import { describe, expect, it } from "vitest";
import { type Manifest, parseManifest } from "../src/bundle/index.js";
import { BundleError } from "../src/errors.js";
import { parsePlan } from "../src/plan/index.js";
import { manifest, manifestJson, planJson } from "./sample.js";

// What is refused is in tests/contract; here is what the engine makes of what it accepts.
describe("manifest", () => {
  it("parses a valid one", () => {
    const m = manifest();
    expect(m.tensors.get("b")).toEqual({ name: "b", dtype: "float16", shape: [3], offset: 80, bytes: 6 });
    expect([m.chunkBytes, m.weightBytes, m.validation]).toEqual([64, 160, "v.00000000.json"]);
    expect(m.tiers[0]!.limits).toEqual(new Map([["maxBufferSize", 1]]));
  });
  it("reads a tier's KV cache, where it is stated", () => {
    const json = manifestJson();
    expect(manifest().tiers[0]!.kvCacheDtype).toBe("float32");
    delete json.tiers[0].kv_cache_dtype;
    expect(parseManifest(JSON.stringify(json)).tiers[0]!.kvCacheDtype).toBeUndefined();
  });
  it("says what to do about a bundle of another version", () => {
    const json = { ...manifestJson(), version: 1 };
    const error = (): unknown => parseManifest(JSON.stringify(json));
    expect(error).toThrow(/format version 1; this engine reads version 2/);
    expect(error).toThrow(expect.objectContaining({ hint: expect.stringContaining("Compile the bundle again") }));
  });
  it.each(["", "null", "[]", "1", "<!doctype html>", '{"format":'])("refuses %j", (text) => {
    expect(() => parseManifest(text)).toThrow(BundleError);
  });
});

describe("plan", () => {
  const plan = parsePlan(JSON.stringify(planJson()), manifest(), "base");
  it("reads what a kernel reads of its buffers, and what a launch is for", () => {
    expect(plan.kernels[0]).toEqual({
      name: "k",
      bindings: ["read-only-storage", "storage", "uniform"],
      uniformWords: 2,
      weights: 20,
      reads: { window: 4 },
    });
    expect(plan.entries.decode.launches[1]).toEqual({ kernel: 0, op: "qkv", layer: 1, args: [0, 6] });
  });
  it("has room for the tiles of a model that sees, or is refused", () => {
    const prompt = { tile: "", row_end: "", before_whole: "", whole: "", end: "" };
    const std = [1, 1, 1];
    const images = {
      tile: 8,
      patch: 2,
      merge: 2,
      resample: "lanczos",
      mean: std,
      std,
      token: "<i>",
      row: "<i>",
      prompt,
    };
    const seeing = parseManifest(JSON.stringify({ ...manifestJson(), images }));
    const json = planJson();
    const parsed = (): unknown => parsePlan(JSON.stringify(json), seeing, "base");
    expect(parsed).toThrow(/has image, or images, alone/);
    json.entries.image = { ...structuredClone(json.entries.prefill), dims: ["n", "b"] };
    expect(() => parsePlan(JSON.stringify(json), manifest(), "base")).toThrow(/has image, or images, alone/);
    const { hidden_size: width, prefill_chunk: chunk } = seeing.model;
    const sizes = {
      images: 4 * chunk * width,
      patches: 768,
      positions: 64,
      places: 256,
      rows: 16,
      image_rows: 16 * width,
    };
    for (const [name, bytes] of Object.entries(sizes)) {
      expect(parsed).toThrow(`${name} has 0 of ${bytes} bytes`);
      json.buffers.push({ name, kind: "input", bytes });
    }
    expect(parsed).not.toThrow();
    const together = (chunk: number, more = {}): Manifest => {
      const given = manifestJson();
      const document = { ...given, model: { ...given.model, prefill_chunk: chunk } };
      return parseManifest(JSON.stringify({ ...document, images: { ...images, ...more, together: true } }));
    };
    expect(() => together(3)).toThrow("a chunk of 3 tokens has no room for a whole picture");
    expect(() => together(4, { longest_edge: 16 })).toThrow("no room for a whole picture");
    const whole = together(4);
    expect(() => parsePlan(JSON.stringify(json), whole, "base")).toThrow("ends has 0 of 16 bytes");
  });
  it("reads what a prefill on matrices needs", () => {
    expect(plan.entries.prefill_matrix).toMatchObject({
      name: "prefill_matrix",
      needs: {
        features: ["f"],
        limits: new Map([["maxBufferSize", 1]]),
        subgroupSize: 32,
        subgroupMatrix: { m: 16, k: 8 },
      },
    });
  });
});
