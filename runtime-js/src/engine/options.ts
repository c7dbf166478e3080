// Declares the options of a load, and checks those that depend on the manifest.
import type { FetchLike, Manifest, Warning } from "../bundle/index.js";
import { FIRST_TOKENS } from "../decode/index.js";
import type { PowerPreference } from "../device/index.js";
import { InvalidRequestError } from "../errors.js";
import type { DebugLevel } from "../log.js";
import type { Activations } from "./activations.js";
import type { LoadProgress } from "./progress.js";

export interface LoadOptions {
  readonly onProgress?: (progress: LoadProgress) => void;
  readonly onWarning?: (warning: Warning) => void;
  readonly signal?: AbortSignal | undefined;
  /** A tier's name; by default the best that the GPU has the features for. */
  readonly tier?: string | undefined;
  /** Prefill's activations: "float"; "int8", which rounds them to eight bits, in groups of 32 as the weights are; or
   * "matrix", float16 on subgroup matrices, of a bundle compiled with --matrix. By default the fastest on this GPU,
   * timed at the first load. */
  readonly activations?: Activations | undefined;
  /** Tokens that a conversation may have; by default the model's, at most 4096. */
  readonly contextLength?: number | undefined;
  /** Tokens of KV cache to allocate at load; it doubles when a conversation needs more, up to contextLength. By default
   * 1024. */
  readonly firstTokens?: number | undefined;
  /** Check at the first load on a device that the kernels compute right; true by default. */
  readonly selfCheck?: boolean | undefined;
  /** Load the model again where its device is lost or its worker stops, and go on with the answer under way; true by
   * default. */
  readonly recover?: boolean | undefined;
  /** Keep the bundle for the next visit; true by default. */
  readonly cache?: boolean | undefined;
  /** Which kept weights are hashed again: "always" all, the default; "first" those that were not verified when they
   * were written. */
  readonly verify?: "always" | "first" | undefined;
  /** Threads of the tier `wasm`, where the page is cross-origin isolated; by default as many as the CPU has, 8 at
   * most. */
  readonly threads?: number | undefined;
  /** Decode steps in flight. */
  readonly depth?: number | undefined;
  readonly powerPreference?: PowerPreference | undefined;
  /** Open the device with timestamps, for `profile`. */
  readonly profile?: boolean | undefined;
  /** What to say through `console.debug`: 0 nothing (the default), 1 stages with times, 2 choices, 3 pipelines,
   * 4 launches. */
  readonly debug?: DebugLevel | undefined;
  readonly fetch?: FetchLike | undefined;
  /** The module mlcweb/constrain, where it cannot be fetched when it is needed, as in a service worker. */
  readonly constrain?: typeof import("../constrain/index.js") | undefined;
  /** The same of mlcweb/embed, which models of embeddings and rerankers need. */
  readonly embed?: { readonly code: unknown } | undefined;
  /** The same of mlcweb/images, which a model that sees pictures needs for them. */
  readonly images?: { readonly code: unknown } | undefined;
}

/** `contextLength`, or its default: texts keep nothing in memory, and may be as long as the model reads them. Throws
 * InvalidRequestError for what the model cannot have. */
export function chooseContext(
  { model, embedding, reranking }: Pick<Manifest, "model" | "embedding" | "reranking">,
  contextLength: number | undefined,
): number {
  if (contextLength === undefined) return Math.min(model.context_length, embedding || reranking ? Infinity : 4096);
  if (!Number.isInteger(contextLength) || contextLength < 2)
    throw new InvalidRequestError("contextLength", "must be an integer of at least 2.");
  if (contextLength > model.context_length)
    throw new InvalidRequestError("contextLength", `is more than the model's ${model.context_length}.`);
  return contextLength;
}

/** `verify`, or its default. Throws InvalidRequestError for what is neither. */
export function chooseVerify(verify: LoadOptions["verify"] = "always"): "always" | "first" {
  if (verify !== "always" && verify !== "first")
    throw new InvalidRequestError("verify", 'must be "always" or "first".');
  return verify;
}

/** `firstTokens`, at most the context. Throws InvalidRequestError for what is no number of tokens. */
export function chooseFirstTokens(contextLength: number, firstTokens = FIRST_TOKENS): number {
  if (!Number.isInteger(firstTokens) || firstTokens < 1)
    throw new InvalidRequestError("firstTokens", "must be an integer of at least 1.");
  return Math.min(contextLength, firstTokens);
}
