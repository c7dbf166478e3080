import { describe, expect, it } from "vitest";
import { parseManifest } from "../src/bundle/index.js";
import { BundleError } from "../src/errors.js";
import { parsePlan } from "../src/plan/index.js";
import { type Any, HASH, manifest, manifestJson, planJson } from "./sample.js";

const HOSTILE: [name: string, message: RegExp, damage: (m: Any) => void][] = [
  ["another format", /not the manifest/, (m) => (m.format = "gguf")],
  ["a newer version", /version 2/, (m) => (m.version = 2)],
  ["a version as text", /version "1"/, (m) => (m.version = "1")],
  ["no files", /files must be an object/, (m) => delete m.files],
  ["files as a list", /files must be an object/, (m) => (m.files = [])],
  ["a path upwards", /plain file name/, (m) => (m.files["../x.bin"] = { bytes: 1, sha256: HASH })],
  ["dots in a row", /plain file name/, (m) => (m.files["a..b"] = { bytes: 1, sha256: HASH })],
  ["an absolute path", /plain file name/, (m) => (m.wasm = "/etc/passwd")],
  ["a URL", /plain file name/, (m) => (m.wasm = "https://evil.example/m.wasm")],
  ["a backslash", /plain file name/, (m) => (m.wasm = "a\\b.wasm")],
  ["an encoded slash", /plain file name/, (m) => (m.wasm = "a%2Fb.wasm")],
  ["a name with a query", /plain file name/, (m) => (m.wasm = "m.wasm?x")],
  ["an endless name", /plain file name/, (m) => (m.wasm = `${"a".repeat(250)}.wasm`)],
  ["an unlisted file", /does not list/, (m) => (m.wasm = "other.wasm")],
  ["a prototype's name", /does not list|plain file name/, (m) => (m.wasm = "__proto__")],
  ["a short hash", /hex digits/, (m) => (m.files["m.wasm"].sha256 = "abc")],
  ["a negative size", /between/, (m) => (m.files["m.wasm"].bytes = -1)],
  ["a fractional size", /integer/, (m) => (m.files["m.wasm"].bytes = 1.5)],
  ["a size as text", /integer/, (m) => (m.files["m.wasm"].bytes = "10")],
  ["a huge size", /integer|between/, (m) => (m.files["m.wasm"].bytes = 1e300)],
  ["a wasm of a terabyte", /more than/, (m) => (m.files["m.wasm"].bytes = 2 ** 40)],
  [
    "a chunk over 24 MiB",
    /1 to 25165824/,
    (m) => {
      m.files["w0.bin"].bytes = 2 ** 25;
      m.files["w1.bin"].bytes = 2 ** 25;
    },
  ],
  ["an empty chunk", /1 to/, (m) => (m.files["w1.bin"].bytes = 0)],
  ["chunks of different sizes", /as long as the first/, (m) => (m.files["w1.bin"].bytes = 48)],
  ["a last chunk that is longer", /as long as the first/, (m) => (m.files["w2.bin"].bytes = 80)],
  [
    "chunks that are no multiple of 16",
    /multiple of 16/,
    (m) => {
      m.files["w0.bin"].bytes = m.files["w1.bin"].bytes = 60;
    },
  ],
  ["a lying total", /sum of the chunks/, (m) => (m.weights.bytes = 161)],
  ["no chunks", /empty/, (m) => (m.weights.chunks = [])],
  ["a tensor past the end", /outside/, (m) => (m.weights.tensors[2].offset = 112)],
  ["a tensor at a huge offset", /between|integer/, (m) => (m.weights.tensors[2].offset = 2 ** 60)],
  ["an unaligned offset", /multiple of 16/, (m) => (m.weights.tensors[1].offset = 84)],
  ["overlapping tensors", /overlapping/, (m) => (m.weights.tensors[1].offset = 64)],
  ["bytes that are not the shape's", /agree/, (m) => (m.weights.tensors[0].bytes = 84)],
  ["a shape that overflows", /agree|between/, (m) => (m.weights.tensors[0].shape = [2 ** 40, 2 ** 40])],
  ["a zero in a shape", /between/, (m) => (m.weights.tensors[0].shape = [0, 20])],
  ["an unknown dtype", /one of/, (m) => (m.weights.tensors[0].dtype = "int8")],
  ["two tensors of one name", /repeats/, (m) => (m.weights.tensors[1].name = "a")],
  ["no tiers", /empty/, (m) => (m.tiers = [])],
  ["two tiers of one name", /two tiers/, (m) => m.tiers.push(m.tiers[0])],
  ["features that are no list", /array/, (m) => (m.tiers[0].features = "subgroups")],
  ["limits that are no numbers", /integer/, (m) => (m.tiers[0].limits = { maxBufferSize: "big" })],
  [
    "a KV cache of no such type",
    /kv_cache_dtype must be one of float16, float32/,
    (m) => (m.tiers[0].kv_cache_dtype = "int8"),
  ],
  ["no vocabulary", /between/, (m) => (m.model.vocab_size = 0)],
  ["a vocabulary of 2^40", /between/, (m) => (m.model.vocab_size = 2 ** 40)],
  ["a model that is null", /object/, (m) => (m.model = null)],
  ["a negative eos", /between/, (m) => (m.tokenizer.eos_token_ids = [-1])],
  ["a name that is a number", /string/, (m) => (m.name = 7)],
];

describe("manifest", () => {
  it("reads what a kernel reads of its buffers", () => {
    const json = planJson();
    json.kernels[0].reads = { experts: 8, choices: 2 };
    expect(parsePlan(JSON.stringify(json), manifest()).kernels[0]!.reads).toEqual({ experts: 8, choices: 2 });
    expect(parsePlan(JSON.stringify(planJson()), manifest()).kernels[0]).not.toHaveProperty("reads");
  });
  it("parses a valid one", () => {
    const m = manifest();
    expect(m.tensors.get("b")).toEqual({ name: "b", dtype: "float16", shape: [3], offset: 80, bytes: 6 });
    expect([m.chunkBytes, m.weightBytes, m.validation]).toEqual([64, 160, undefined]);
  });
  it("reads a tier's KV cache, where it is stated", () => {
    const json = manifestJson();
    json.tiers[0].kv_cache_dtype = "float16";
    expect(parseManifest(JSON.stringify(json)).tiers[0]!.kvCacheDtype).toBe("float16");
    expect(manifest().tiers[0]!.kvCacheDtype).toBeUndefined();
  });
  it.each(HOSTILE)("refuses %s", (_, message, damage) => {
    const json = manifestJson();
    damage(json);
    expect(() => parseManifest(JSON.stringify(json))).toThrow(BundleError);
    expect(() => parseManifest(JSON.stringify(json))).toThrow(message);
  });
  it.each(["", "null", "[]", "1", "<!doctype html>", '{"format":'])("refuses %j", (text) => {
    expect(() => parseManifest(text)).toThrow(BundleError);
  });
});

const HOSTILE_PLANS: [name: string, message: RegExp, damage: (p: Any) => void][] = [
  ["a weight that the manifest lacks", /does not have/, (p) => (p.buffers[0].name = "zzz")],
  ["a weight of another size", /not the size/, (p) => (p.buffers[0].bytes = 84)],
  ["an unknown kind", /one of/, (p) => (p.buffers[0].kind = "disk")],
  ["a buffer of no bytes", /between/, (p) => (p.buffers[2].bytes = 0)],
  ["two buffers of one name", /two buffers/, (p) => (p.buffers[3].name = "tokens")],
  ["a small logits buffer", /64 are needed/, (p) => (p.buffers[6].bytes = 60)],
  ["no state buffer", /no state/, (p) => (p.buffers[3].name = "stat")],
  ["a kernel name that is no identifier", /identifier/, (p) => (p.kernels[0].name = "k; enable")],
  ["no uniform", /uniform/, (p) => (p.kernels[0].bindings = ["storage", "storage"])],
  ["two uniforms", /uniform/, (p) => (p.kernels[0].bindings = ["storage", "uniform", "uniform"])],
  ["a launch of no kernel", /between/, (p) => (p.entries.decode.launches[0].kernel = 1)],
  ["an argument past the buffers", /between/, (p) => (p.entries.decode.launches[0].args = [0, 7])],
  ["too few arguments", /match/, (p) => (p.entries.decode.launches[0].args = [0])],
  ["a record too short for its uniform", /more uniform words/, (p) => (p.entries.decode.record_words = 4)],
  ["no sample entry", /object/, (p) => delete p.entries.sample],
  ["a prefill on matrices that needs nothing", /needs must be an object/, (p) => withMatrix(p, null)],
  ["a prefill on matrices of another dim", /dims/, (p) => (withMatrix(p).dims = [])],
  ["a decode with needs of its own", /every device of the tier/, (p) => (p.entries.decode.needs = NEEDS)],
  ["needs without features", /features must be an array/, (p) => withMatrix(p, { ...NEEDS, features: undefined })],
  ["a limit that is text", /integer/, (p) => withMatrix(p, { ...NEEDS, limits: { maxBufferSize: "1" } })],
  ["subgroups of none", /between/, (p) => withMatrix(p, { ...NEEDS, subgroup_size: 0 })],
  [
    "a matrix without a side",
    /integer/,
    (p) => withMatrix(p, { ...NEEDS, subgroup_matrix: { ...NEEDS.subgroup_matrix, k: undefined } }),
  ],
  ["a window of no tokens", /between/, (p) => (p.kernels[0].reads = { window: 0 })],
  ["a kernel that reads what nobody knows", /one of/, (p) => (p.kernels[0].reads = { pages: 1 })],
  ["other dims", /dims/, (p) => (p.entries.decode.dims = ["n"])],
];

const NEEDS = {
  features: ["f"],
  limits: { maxBufferSize: 1 },
  subgroup_size: 32,
  subgroup_matrix: { component: "f16", result: "f32", m: 16, n: 16, k: 8 },
};
const withMatrix = (p: Any, needs: unknown = NEEDS): Any =>
  (p.entries.prefill_matrix = { ...p.entries.prefill, needs });

describe("plan", () => {
  it("reads what a prefill on matrices needs", () => {
    const json = planJson();
    withMatrix(json);
    expect(parsePlan(JSON.stringify(json), manifest()).entries.prefill_matrix).toMatchObject({
      name: "prefill_matrix",
      needs: {
        features: ["f"],
        limits: new Map([["maxBufferSize", 1]]),
        subgroupSize: 32,
        subgroupMatrix: { m: 16, k: 8 },
      },
    });
  });
  it("parses a valid one", () =>
    expect(parsePlan(JSON.stringify(planJson()), manifest()).entries.sample.launches).toHaveLength(1));
  it.each(HOSTILE_PLANS)("refuses %s", (_, message, damage) => {
    const json = planJson();
    damage(json);
    expect(() => parsePlan(JSON.stringify(json), manifest())).toThrow(message);
  });
});
