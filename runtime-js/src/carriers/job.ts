// Declares what a page and its carriers say to each other.
import type { Kept as KeptFile } from "../bundle/store.js";

export interface FileJob extends KeptFile {
  /** Whether there are kept files, to be read or written. */
  readonly keep: boolean;
  /** Trust a kept file that was verified when it was written, and write so that it can be trusted. */
  readonly trust: boolean;
}

/** `read` a kept file. `take` a file: what is in the memory, or, with a URL, what comes from there. */
export type Task =
  | { readonly kind: "read" }
  | { readonly kind: "take"; readonly url?: string; readonly cache?: RequestCache };

export type Job = FileJob & Task;

export type Ask = Job & { readonly memory: ArrayBuffer };

/** `missing` is also what was not written to its end. */
export type Kept = "here" | "missing" | "damaged";

export interface Result {
  /** Of `read`. */
  readonly kept?: Kept;
  /** Of `take`: bytes that are there. Fewer than the file's where a server did not give it at once. */
  readonly filled?: number;
  /** The sha256 of all bytes. */
  readonly actual?: string;
  /** Why what is right was not kept: "" where nothing is, or another tab has the file. */
  readonly unkept?: string;
}

/** A carrier's messages: that it has begun, how many bytes came, and what has become of its job. */
export type Said = "ready" | number | { readonly result: Result; readonly memory: ArrayBuffer };
