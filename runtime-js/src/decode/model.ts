// Declares the model that the decode loop drives. Each call submits work at once and resolves when its result is read.
// Calls are executed in order. GpuModel and CpuModel are the real ones; tests drive the loop with a fake.

import type { ImageRows } from "./image_rows.js";

export interface Sampling {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly seed: number;
  /** Only for a model that `penalizes`; undefined for none. */
  readonly penalties?: Penalties | undefined;
}
/** They count the tokens of the answer. */
export interface Penalties {
  /** 1 is off. */
  readonly repetition: number;
  readonly frequency: number;
  readonly presence: number;
}

export interface RecurrentState {
  /** Goes back to at most so many tokens, and returns how many it has seen then: those after are to be fed again. */
  rewind(position: number): number;
  /** Says that an answer begins here, to which others may come back. */
  mark(): void;
}

export interface Model {
  readonly vocabSize: number;
  readonly prefillChunk: number;
  /** Tokens that the KV cache may grow to. */
  readonly contextLength: number;
  /** Tokens that it has room for now; what is submitted must not go past them. */
  readonly kvTokens: number;
  /** Whether a token below 0 stands for a row of a picture that it has seen. */
  knows?(token: number): boolean;
  /** Whether a picture's rows see one another, and so must be in one prefill. */
  readonly wholePictures?: boolean;
  /** What it sees of pictures, if it does here. */
  readonly images?: ImageRows | undefined;
  /** The state of its recurrent layers, if it has any. */
  readonly recurrent?: RecurrentState | undefined;
  /** Steps in flight at most, where waiting for one costs nothing. */
  readonly stepsAhead?: number;
  /** Prepares what feeds few tokens at a time. */
  prepareFew?(): Promise<void>;
  /** Makes room in the KV cache for so many tokens in all; throws OutOfMemoryError, and then all is as it was. */
  reserve(tokens: number): Promise<void>;
  /** Whether its own sampler takes penalties. */
  readonly penalizes: boolean;
  /** What the answer that begins is sampled with. `taken`: its tokens so far, where it goes on after another model. */
  setSampling(sampling: Sampling, taken?: readonly number[]): Promise<void>;
  /** Runs a chunk of at most prefillChunk tokens at a position. */
  prefill(tokens: readonly number[], position: number): Promise<void>;
  /** The same for a prompt's last chunk, and samples the next token; `sampled` tokens of the answer were sampled before
   * it. */
  prefillAndSample(tokens: readonly number[], position: number, sampled?: number): Promise<number>;
  /** Feeds the last sampled token and samples the next, on the GPU, `count` times in one submission. */
  steps(count: number): Promise<number[]>;
  /** Runs a chunk of at most prefillChunk tokens at a position, in the way that is the fastest for so many, and samples
   * nothing; `sampled` tokens of the answer were sampled before. */
  feed(tokens: readonly number[], position: number, sampled: number): void;
  /** Resolves when what was submitted has run. */
  done(): Promise<void>;
  /** Samples one of the tokens that the mask has a bit for. `counts`: how often the answer has each token, where there
   * are penalties. */
  sample(mask: Int32Array<ArrayBuffer>, counts?: Int32Array<ArrayBuffer>): Promise<number>;
  /** Feeds the token that was sampled last, and samples nothing. */
  decode(): void;
  /** Feeds the token that was sampled last, and samples the next under the same mask. */
  sampleAgain(): Promise<number>;
  /** A chunk, and the logits after its last token. */
  prefillAndRead(tokens: readonly number[], position: number): Promise<Float32Array>;
  /** Feeds a token that the CPU chose, and reads the logits. */
  decodeAndRead(token: number, position: number): Promise<Float32Array>;
}
