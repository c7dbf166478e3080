// The manifest `mlcweb.json` (docs/bundle-format.md), parsed as hostile input: what this returns can be trusted.
import { BundleError } from "../errors.js";
import { array, check, fileName, integer, type Json, object, oneOf, sha256, text } from "./fields.js";

export const MAX_CHUNK_BYTES = 24 * 1024 * 1024;
const MAX_SMALL_FILE_BYTES = 256 * 1024 * 1024;
const DTYPE_BYTES = { uint32: 4, float16: 2, float32: 4 } as const;

export interface FileEntry {
  readonly bytes: number;
  readonly sha256: string;
}
export interface Tensor {
  readonly name: string;
  readonly dtype: keyof typeof DTYPE_BYTES;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}
export interface Tier {
  readonly name: string;
  readonly features: readonly string[];
  readonly limits: ReadonlyMap<string, number>;
  readonly plan: string;
  readonly kernels: string;
  /** The type of the KV cache's elements, where the bundle says it. */
  readonly kvCacheDtype?: "float16" | "float32" | undefined;
}
export interface ModelFacts {
  readonly family: string;
  readonly quantization: string;
  readonly parameters: number;
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly layers: number;
  readonly heads: number;
  readonly kv_heads: number;
  readonly head_dim: number;
  readonly context_length: number;
  readonly prefill_chunk: number;
  readonly page_size: number;
  /** Where the weights came from: `kind`, and what names it there. */
  readonly source: Readonly<Record<string, string>>;
  readonly licence: string;
}
export interface Manifest {
  readonly name: string;
  readonly createdBy: string;
  readonly model: ModelFacts;
  readonly tokenizer: { readonly tokenizer: string; readonly config: string; readonly eosTokenIds: readonly number[] };
  readonly wasm: string;
  readonly tiers: readonly Tier[];
  readonly chunks: readonly string[];
  readonly chunkBytes: number;
  readonly weightBytes: number;
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly memory: { readonly weights: number; readonly kvPerToken: number; readonly scratch: number };
  readonly validation: string | undefined;
  readonly files: ReadonlyMap<string, FileEntry>;
}

export function parseManifest(source: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(source);
  } catch (cause) {
    throw new BundleError("mlcweb.json is not JSON.", "Check that the URL is a bundle's folder and not a web page.", {
      cause,
    });
  }
  const top = object(json, "mlcweb.json");
  if (top.format !== "mlcweb-bundle") throw new BundleError("mlcweb.json is not the manifest of an mlcweb bundle.");
  if (top.version !== 1) {
    throw new BundleError(
      `The bundle has format version ${JSON.stringify(top.version)?.slice(0, 40)}; this engine reads version 1.`,
      "Use the engine that came with the compiler.",
    );
  }
  const files = parseFiles(top.files);
  const named = (value: unknown, path: string): string => {
    const name = fileName(value, path);
    check(files.has(name), path, `names ${name}, which files does not list`);
    return name;
  };
  const small = (value: unknown, path: string): string => {
    const name = named(value, path);
    check(
      files.get(name)!.bytes <= MAX_SMALL_FILE_BYTES,
      path,
      `names a file of more than ${MAX_SMALL_FILE_BYTES} bytes`,
    );
    return name;
  };
  const model = parseModel(object(top.model, "model"));
  const tokenizer = object(top.tokenizer, "tokenizer");
  const memory = object(top.memory, "memory");
  return {
    name: text(top.name, "name"),
    createdBy: typeof top.created_by === "string" ? top.created_by : "",
    model,
    tokenizer: {
      tokenizer: small(tokenizer.tokenizer, "tokenizer.tokenizer"),
      config: small(tokenizer.config, "tokenizer.config"),
      eosTokenIds: array(tokenizer.eos_token_ids, "tokenizer.eos_token_ids", 1000).map((id, i) =>
        integer(id, `tokenizer.eos_token_ids[${i}]`, 0, 2 ** 31 - 1),
      ),
    },
    wasm: small(top.wasm, "wasm"),
    tiers: parseTiers(top.tiers, small),
    ...parseWeights(object(top.weights, "weights"), named, files),
    memory: {
      weights: integer(memory.weights, "memory.weights"),
      kvPerToken: integer(memory.kv_per_token, "memory.kv_per_token"),
      scratch: integer(memory.scratch, "memory.scratch"),
    },
    validation:
      top.validation === undefined || top.validation === null ? undefined : small(top.validation, "validation"),
    files,
  };
}

function parseFiles(value: unknown): Map<string, FileEntry> {
  const files = new Map<string, FileEntry>();
  for (const [name, entry] of Object.entries(object(value, "files"))) {
    fileName(name, "files");
    const item = object(entry, `files.${name}`);
    files.set(name, {
      bytes: integer(item.bytes, `files.${name}.bytes`),
      sha256: sha256(item.sha256, `files.${name}.sha256`),
    });
  }
  return files;
}

function parseModel(model: Json): ModelFacts {
  const size = (key: string, max = 2 ** 31 - 1): number => integer(model[key], `model.${key}`, 1, max);
  const source = model.source === undefined ? {} : object(model.source, "model.source");
  return {
    family: text(model.family, "model.family"),
    quantization: text(model.quantization, "model.quantization"),
    parameters: size("parameters", 2 ** 48),
    vocab_size: size("vocab_size", 2 ** 24),
    hidden_size: size("hidden_size"),
    layers: size("layers"),
    heads: size("heads"),
    kv_heads: size("kv_heads"),
    head_dim: size("head_dim"),
    context_length: size("context_length"),
    prefill_chunk: size("prefill_chunk", 2 ** 20),
    page_size: size("page_size", 2 ** 20),
    source: Object.fromEntries(Object.entries(source).map(([key, value]) => [key, text(value, `model.source.${key}`)])),
    licence: typeof model.licence === "string" ? model.licence : "",
  };
}

function parseTiers(value: unknown, file: (value: unknown, path: string) => string): Tier[] {
  const tiers = array(value, "tiers", 32).map((item, i): Tier => {
    const tier = object(item, `tiers[${i}]`);
    const limits = Object.entries(tier.limits === undefined ? {} : object(tier.limits, `tiers[${i}].limits`));
    return {
      name: text(tier.name, `tiers[${i}].name`),
      features: array(tier.features, `tiers[${i}].features`, 64).map((f, j) => text(f, `tiers[${i}].features[${j}]`)),
      limits: new Map(limits.map(([k, v]) => [k, integer(v, `tiers[${i}].limits.${k}`)])),
      plan: file(tier.plan, `tiers[${i}].plan`),
      kernels: file(tier.kernels, `tiers[${i}].kernels`),
      kvCacheDtype:
        tier.kv_cache_dtype === undefined
          ? undefined
          : oneOf(tier.kv_cache_dtype, `tiers[${i}].kv_cache_dtype`, ["float16", "float32"] as const),
    };
  });
  check(tiers.length > 0, "tiers", "is empty");
  check(new Set(tiers.map((t) => t.name)).size === tiers.length, "tiers", "has two tiers of one name");
  return tiers;
}

type Weights = Pick<Manifest, "chunks" | "chunkBytes" | "weightBytes" | "tensors">;

function parseWeights(
  weights: Json,
  named: (value: unknown, path: string) => string,
  files: ReadonlyMap<string, FileEntry>,
): Weights {
  const chunks = array(weights.chunks, "weights.chunks", 100_000).map((c, i) => named(c, `weights.chunks[${i}]`));
  check(chunks.length > 0, "weights.chunks", "is empty");
  const sizes = chunks.map((c) => files.get(c)!.bytes);
  const chunkBytes = sizes[0]!;
  sizes.forEach((bytes, i) => {
    const last = i === sizes.length - 1;
    check(bytes > 0 && bytes <= MAX_CHUNK_BYTES, `weights.chunks[${i}]`, `must have 1 to ${MAX_CHUNK_BYTES} bytes`);
    check(
      last ? bytes <= chunkBytes : bytes === chunkBytes && bytes % 16 === 0,
      `weights.chunks[${i}]`,
      "must be as long as the first, and a multiple of 16",
    );
  });
  const total = sizes.reduce((a, b) => a + b, 0);
  check(integer(weights.bytes, "weights.bytes") === total, "weights.bytes", `is not the sum of the chunks, ${total}`);
  const tensors = new Map<string, Tensor>();
  array(weights.tensors, "weights.tensors").forEach((item, i) => {
    const tensor = parseTensor(object(item, `weights.tensors[${i}]`), `weights.tensors[${i}]`, total);
    check(!tensors.has(tensor.name), `weights.tensors[${i}]`, `repeats the name ${tensor.name}`);
    tensors.set(tensor.name, tensor);
  });
  const sorted = [...tensors.values()].sort((a, b) => a.offset - b.offset);
  for (let i = 1; i < sorted.length; i++) {
    const before = sorted[i - 1]!,
      tensor = sorted[i]!;
    check(
      before.offset + before.bytes <= tensor.offset,
      "weights.tensors",
      `has overlapping tensors ${before.name} and ${tensor.name}`,
    );
  }
  return { chunks, chunkBytes, weightBytes: total, tensors };
}

function parseTensor(item: Json, path: string, total: number): Tensor {
  const name = text(item.name, `${path}.name`);
  const dtype = oneOf(item.dtype, `${path}.dtype`, ["uint32", "float16", "float32"] as const);
  const shape = array(item.shape, `${path}.shape`, 8).map((d, i) => integer(d, `${path}.shape[${i}]`, 1));
  const offset = integer(item.offset, `${path}.offset`);
  const bytes = integer(item.bytes, `${path}.bytes`, 1);
  check(offset % 16 === 0, `${path}.offset`, "must be a multiple of 16");
  check(offset + bytes <= total, path, "lies outside the chunks");
  check(
    shape.reduce((a, b) => a * b, DTYPE_BYTES[dtype]) === bytes,
    `${path}.bytes`,
    "does not agree with dtype and shape",
  );
  return { name, dtype, shape, offset, bytes };
}
