// Parses the manifest, `mlcweb.json` (docs/bundle-format.md), as hostile input. Its callers can trust what it returns.
import {
  type AnswerSyntax,
  check,
  DTYPE_BYTES,
  type EmbeddingFacts,
  type FileEntry,
  type GenerationDefaults,
  HASH_DIGITS,
  type ImageFacts,
  type KvCacheDtype,
  MAX_CHUNK_BYTES,
  MAX_SMALL_FILE_BYTES,
  type ManifestDocument,
  type ModelFacts,
  manifestDocument,
  type RerankingFacts,
  TENSOR_ALIGNMENT,
  type TensorEntry,
  type TierCost,
} from "../contract/index.js";
import { mostRows } from "../images/facts.js";

export type { FileEntry, ModelFacts, TensorEntry as Tensor } from "../contract/index.js";

export interface Tier {
  readonly name: string;
  readonly features: readonly string[];
  readonly limits: ReadonlyMap<string, number>;
  readonly plan: string;
  readonly kernels: string;
  /** Of the CPU's tier: its kernels for browsers with Relaxed SIMD, and whether its products round activations. */
  readonly relaxed?: string | undefined;
  readonly int8?: boolean | undefined;
  /** The type of the KV cache's elements, where the bundle says it. */
  readonly kvCacheDtype?: KvCacheDtype | undefined;
  /** Absent in bundles of compilers that did not count. */
  readonly cost?: TierCost | undefined;
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
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly memory: { readonly weights: number; readonly kvPerToken: number; readonly scratch: number };
  readonly validation: string | undefined;
  /** Absent in bundles of compilers that did not look. */
  readonly answers: AnswerSyntax | undefined;
  /** How answers are sampled where a request does not say. */
  readonly generation?: GenerationDefaults | undefined;
  /** Of a model of whole texts, which answers no prompts. The code for such models checks them further. */
  readonly embedding?: EmbeddingFacts | undefined;
  readonly reranking?: RerankingFacts | undefined;
  /** Of a model that sees pictures. */
  readonly images?: ImageFacts | undefined;
  readonly files: ReadonlyMap<string, FileEntry>;
}

/** Throws BundleError, which names the field, for what the schema or the format's rules do not admit. */
export function parseManifest(source: string): Manifest {
  const json = manifestDocument(source);
  const files = new Map(Object.entries(json.files));
  checkFiles(json, files);
  checkModel(json);
  const chunkBytes = checkChunks(json, files);
  checkTensors(json);
  const { tokenizer, weights, memory } = json;
  return {
    name: json.name,
    createdBy: json.created_by,
    model: json.model,
    tokenizer: { tokenizer: tokenizer.tokenizer, config: tokenizer.config, eosTokenIds: tokenizer.eos_token_ids },
    wasm: json.wasm,
    tiers: json.tiers.map(({ kv_cache_dtype, limits, ...tier }) => ({
      ...tier,
      limits: new Map(Object.entries(limits)),
      kvCacheDtype: kv_cache_dtype,
    })),
    chunks: weights.chunks,
    chunkBytes,
    weightBytes: weights.bytes,
    tensors: new Map(weights.tensors.map((tensor) => [tensor.name, tensor])),
    memory: { weights: memory.weights, kvPerToken: memory.kv_per_token, scratch: memory.scratch },
    validation: json.validation,
    answers: json.answers,
    generation: json.generation,
    embedding: json.embedding,
    reranking: json.reranking,
    images: json.images,
    files,
  };
}

/** Checks that names carry the file's hash, and that each named file is listed and, except weight chunks, small. */
function checkFiles(json: ManifestDocument, files: ReadonlyMap<string, FileEntry>): void {
  for (const [name, { sha256 }] of files)
    check(name.split(".").at(-2) === sha256.slice(0, HASH_DIGITS), `files.${name}`, "its name has another hash");
  const named = (path: string, name: string | undefined, most: number): void => {
    if (name === undefined) return;
    const entry = files.get(name);
    check(entry !== undefined, path, `names ${name}, which files does not list`);
    check(entry.bytes <= most, path, `names a file of more than ${most} bytes`);
  };
  const small = (path: string, name: string | undefined): void => named(path, name, MAX_SMALL_FILE_BYTES);
  small("wasm", json.wasm);
  small("tokenizer.tokenizer", json.tokenizer.tokenizer);
  small("tokenizer.config", json.tokenizer.config);
  json.tiers.forEach(({ plan, kernels, relaxed }, i) => {
    small(`tiers[${i}].plan`, plan);
    small(`tiers[${i}].kernels`, kernels);
    small(`tiers[${i}].relaxed`, relaxed);
  });
  json.weights.chunks.forEach((name, i) => {
    named(`weights.chunks[${i}]`, name, Infinity);
  });
  small("validation", json.validation);
  small("config", json.config);
}

function checkModel({ model, tokenizer, tiers, weights, quality, images }: ManifestDocument): void {
  checkNames("tiers", tiers);
  checkNames("weights.tensors", weights.tensors);
  check(model.heads % model.kv_heads === 0, "model.kv_heads", `${model.heads} heads cannot share them evenly`);
  tokenizer.eos_token_ids.forEach((token, i) => {
    check(token < model.vocab_size, `tokenizer.eos_token_ids[${i}]`, `${token} is outside the vocabulary`);
  });
  if (images) {
    const { tile, pixels, patch, merge, std } = images;
    check((tile === undefined) === (pixels !== undefined), "images", "needs one of tile and pixels");
    if (pixels) {
      check(images.longest_edge === undefined, "images.longest_edge", "is of pictures that are cut into tiles");
      const room = mostRows(images) > 0 && pixels.least <= pixels.most;
      check(room, "images.pixels", `from ${pixels.least} to ${pixels.most} have no room for a row`);
    } else {
      const side = Math.floor(tile! / patch);
      const blocks = side > 0 && side % merge === 0;
      check(blocks, "images.tile", `has ${side} patches a side, which are no blocks of ${merge}`);
      check(images.window === undefined, "images.window", "is of pictures that are seen as a whole");
    }
    check(Math.min(...std) > 0, "images.std", "must be above 0");
    const fits = mostRows(images) <= model.prefill_chunk && images.longest_edge === undefined;
    const message = `a chunk of ${model.prefill_chunk} tokens has no room for a whole picture`;
    check(!images.together || fits, "images.together", message);
  }
  if (quality) check(quality.same_tokens <= quality.tokens, "quality.same_tokens", `is more than ${quality.tokens}`);
}

function checkNames(path: string, items: readonly { readonly name: string }[]): void {
  const seen = new Set<string>();
  items.forEach(({ name }, i) => {
    check(!seen.has(name), `${path}[${i}].name`, `${name} occurs twice`);
    seen.add(name);
  });
}

/** Returns the bytes of every chunk but the last, which may be shorter. */
function checkChunks({ weights }: ManifestDocument, files: ReadonlyMap<string, FileEntry>): number {
  const sizes = weights.chunks.map((name) => files.get(name)!.bytes);
  sizes.forEach((bytes, i) => {
    const path = `weights.chunks[${i}]`;
    check(
      bytes > 0 && bytes <= MAX_CHUNK_BYTES && bytes % TENSOR_ALIGNMENT === 0,
      path,
      `${bytes} bytes; a chunk has a multiple of ${TENSOR_ALIGNMENT}, at most ${MAX_CHUNK_BYTES}`,
    );
    const alike = bytes === sizes[0]! || (i === sizes.length - 1 && bytes < sizes[0]!);
    check(alike, path, `${bytes} bytes, but the first has ${sizes[0]}: all but the last are equal`);
  });
  const total = sizes.reduce((a, b) => a + b, 0);
  check(weights.bytes === total, "weights.bytes", `is not the sum of the chunks, ${total}`);
  return sizes[0]!;
}

function checkTensors({ weights }: ManifestDocument): void {
  weights.tensors.forEach(({ dtype, shape, offset, bytes }, i) => {
    const path = `weights.tensors[${i}]`;
    const expected = shape.reduce((a, b) => a * b, DTYPE_BYTES[dtype]);
    check(bytes === expected, `${path}.bytes`, `its shape and dtype make ${expected}`);
    check(offset + bytes <= weights.bytes, `${path}.offset`, "the tensor ends past the last chunk");
  });
  let end = 0;
  const inOrder = weights.tensors.map((tensor, i) => ({ ...tensor, i })).sort((a, b) => a.offset - b.offset);
  for (const { offset, bytes, i } of inOrder) {
    check(offset >= end, `weights.tensors[${i}].offset`, "overlaps the tensor before it");
    end = offset + bytes;
  }
}
