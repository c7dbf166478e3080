// Declares what the engine's thread asks of the CPU's: calls, which are answered in order.
import type { Sampling } from "../decode/model.js";
import type { TextOutput, TextWords } from "../embed/calls.js";
import type { Plan } from "../plan/index.js";
import type { Layout } from "./layout.js";

/** The name by which a worker knows what it is for. */
export const WORKER_NAME = "mlcweb-cpu";
/** What it says first, when it hears. */
export const READY = "ready";

export interface Opening {
  readonly plan: Plan;
  /** The kernels. Its memory is shared where there are several threads. */
  readonly kernels: WebAssembly.Module;
  /** model.wasm, of which each thread of the engine has its own. */
  readonly host: Uint8Array<ArrayBuffer>;
  /** KV pages. */
  readonly pages: number;
  readonly threads: number;
}
export interface Opened {
  readonly layout: Layout;
  /** To be given to the helpers, where there are some. */
  readonly memory: WebAssembly.Memory | undefined;
}
/** What a helper is given: the opening, what came of it, and which thread it is, from 1. */
export interface Helping {
  readonly opening: Opening;
  readonly layout: Layout;
  readonly memory: WebAssembly.Memory;
  readonly thread: number;
}
/** The name of a helper's only request, which is answered where it fails. */
export const HELP = "help";

/** A chunk to prefill. */
export interface Chunk {
  readonly tokens: Int32Array<ArrayBuffer>;
  readonly position: number;
  /** Tokens of the answer that were sampled before. */
  readonly sampled: number;
  /** Where RoPE and the plan's other inputs have the chunk's tokens, by the buffers' names. */
  readonly inputs: Readonly<Record<string, Int32Array<ArrayBuffer>>>;
  /** What is added to the position after it to get RoPE's. */
  readonly shift: number;
}

/** The calls, with what they answer. */
export interface Calls {
  open(opening: Opening): Promise<Opened>;
  write(tensor: string, offset: number, bytes: Uint8Array<ArrayBuffer>): void;
  setSampling(sampling: Sampling, taken: readonly number[]): void;
  prefill(chunk: Chunk): void;
  /** Feeds tokens one by one. */
  step(tokens: readonly number[], position: number, sampled: number, shift: number): void;
  /** Chooses a token from the logits, among those that the mask has a bit for, if there is one. */
  sample(mask?: Int32Array<ArrayBuffer>, counts?: Int32Array<ArrayBuffer>): number;
  /** Feeds the token that was sampled last. */
  decode(): void;
  /** Feeds the token that was sampled last, and samples the next, under the last mask if `masked`; so many times. */
  steps(count: number, masked: boolean): number[];
  logits(): Float32Array<ArrayBuffer>;
  /** Keeps a copy of the recurrent state, or brings it back. */
  keep(copy: number): void;
  bringBack(copy: number): void;
  /** The numbers of a call of whole texts, those of each after the other. */
  texts(words: TextWords, output: TextOutput): Float32Array<ArrayBuffer>;
  done(): void;
}
export type CallName = keyof Calls;

export interface Request {
  readonly id: number;
  readonly name: CallName | typeof HELP;
  readonly args: readonly unknown[];
}
export interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
}
