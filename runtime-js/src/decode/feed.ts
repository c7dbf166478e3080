// Declares a feed, which gives an answer's tokens one by one, and the pace by which feeds submit steps ahead.
import type { GeneratedToken } from "./loop.js";

export interface Feed {
  next(): Promise<GeneratedToken>;
  /** The caller has taken the token: if it was fed already, it is part of the cache. */
  accept(token: number): void;
  /** Submit more steps, up to the depth. */
  ahead(): Promise<void>;
  finish(): void;
}

/** Where a step takes longer than this, a read-back's latency is nothing, and fewer steps are wasted at a stop. */
export const SLOW_MS = 40;
/** Where a step takes less, several go in one submission: what a submission costs is then worth sharing. */
export const FAST_MS = 5;
export const BATCH = 4;
