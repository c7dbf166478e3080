// Lays a plan's buffers, the copies of recurrent state and what threads need into one WebAssembly memory.
import { RECURRENT_COPIES } from "../contract/index.js";
import { OutOfMemoryError } from "../errors.js";
import type { Plan, PlanBuffer } from "../plan/index.js";

export const PAGE_BYTES = 65536;
/** WebAssembly's memories have 32-bit addresses. */
const MOST_BYTES = 2 ** 32;
/** Throws OutOfMemoryError where a model needs more bytes than such a memory has. */
export function requireRoom(bytes: number): void {
  if (bytes <= MOST_BYTES) return;
  const [needs, has] = [bytes, MOST_BYTES].map((size) => (size / 2 ** 30).toFixed(1));
  throw new OutOfMemoryError(
    `Without a GPU the model needs ${needs} GiB, and a WebAssembly memory has at most ${has}.`,
    "Load with a smaller contextLength, or choose a smaller model.",
  );
}

export const STACK_BYTES = 65536;
/** Of vectors, and of a cache line, which no two threads should write. */
const ALIGNMENT = 64;

export interface Layout {
  /** Where each of the plan's buffers begins, by its index. */
  readonly places: readonly number[];
  /** Where the copies of each recurrent buffer begin, by its index. */
  readonly copies: ReadonlyMap<number, readonly number[]>;
  /** Words that threads agree by, and each entry's launch table. */
  readonly control: number;
  readonly tables: readonly number[];
  /** Tops of the threads' stacks, but for the first's, which is the module's own. */
  readonly stacks: readonly number[];
  readonly end: number;
}

export const bytesOf = (buffer: PlanBuffer, pages: number): number =>
  buffer.kind === "kv" ? buffer.pageBytes * Math.min(pages, buffer.pages) : buffer.bytes;

/** The layout from `base` on, with room for so many KV pages and threads. */
export function layOut(
  plan: Pick<Plan, "buffers">,
  pages: number,
  threads: number,
  controlWords: number,
  tableWords: readonly number[],
  base: number,
): Layout {
  let end = base;
  const take = (bytes: number): number => {
    const at = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    end = at + bytes;
    return at;
  };
  const control = take(4 * controlWords);
  const tables = tableWords.map((words) => take(4 * words));
  const stacks = Array.from({ length: threads - 1 }, () => take(STACK_BYTES) + STACK_BYTES);
  const places: number[] = [];
  const copies = new Map<number, number[]>();
  // The KV cache is last: what a conversation does not reach is never touched, and takes no memory.
  const last = (i: number): number => Number(plan.buffers[i]!.kind === "kv");
  for (const i of plan.buffers.map((_, i) => i).sort((a, b) => last(a) - last(b))) {
    const buffer = plan.buffers[i]!;
    places[i] = take(bytesOf(buffer, pages));
    if (buffer.kind === "recurrent")
      copies.set(
        i,
        Array.from({ length: RECURRENT_COPIES }, () => take(buffer.bytes)),
      );
  }
  return { places, copies, control, tables, stacks, end };
}
