// Declares a feed, which gives an answer's tokens one by one, and the pace by which feeds submit steps ahead.
import type { GeneratedToken, Resumption } from "./loop.js";

export interface Feed {
  next(): Promise<GeneratedToken>;
  /** Notes that the caller has taken the token. If it was fed already, the KV cache holds it. */
  accept(token: number): void;
  /** Submits more steps, up to the depth. */
  ahead(): Promise<void>;
  /** Goes on with a model that has seen nothing, and the prompt as that one knows it. Returns the prompt and the answer
   * so far, of which `next` feeds the last chunk. */
  resume(at: Resumption): readonly number[];
  finish(): void;
}

/** A step is slow from here on. Then few steps are in flight: a read-back's latency does not count, and a stop wastes
 * fewer steps. */
export const SLOW_MS = 40;
/** A step is fast up to here. Then several steps share one submission and its cost. */
export const FAST_MS = 5;
export const BATCH = 4;
