// Writes sets of characters as sequences of ranges of bytes, in UTF-8.
import type { Range } from "./grammar.js";

/** For each byte its least and its greatest. */
export type Bytes = readonly Range[];

const LENGTHS: readonly Range[] = [
  [0, 0x7f],
  [0x80, 0x7ff],
  [0x800, 0xd7ff],
  [0xe000, 0xffff],
  [0x10000, 0x10ffff],
];
const known = new WeakMap<readonly Range[], readonly Bytes[]>();

/** The sequences that the characters of the ranges are, in order if the ranges are. */
export function utf8(ranges: readonly Range[]): readonly Bytes[] {
  let found = known.get(ranges);
  if (!found) {
    const all: Bytes[] = [];
    for (const [low, high] of ranges)
      for (const [first, last] of LENGTHS) {
        const from = Math.max(low, first),
          to = Math.min(high, last);
        if (from <= to) between(encode(from), encode(to), [], all);
      }
    found = all;
    known.set(ranges, found);
  }
  return found;
}

/** Adds the sequences from one of as many bytes to the other, both included. */
function between(low: readonly number[], high: readonly number[], before: Bytes, found: Bytes[]): void {
  const i = before.length,
    [a, b] = [low[i]!, high[i]!];
  if (i === low.length - 1) {
    found.push([...before, [a, b]]);
    return;
  }
  const rest = (bytes: readonly number[], byte: number): boolean => bytes.every((one, j) => j <= i || one === byte);
  const least = low.map(() => 0x80),
    most = high.map(() => 0xbf);
  if (a === b) {
    between(low, high, [...before, [a, a]], found);
    return;
  }
  const from = rest(low, 0x80) ? a : a + 1,
    to = rest(high, 0xbf) ? b : b - 1;
  if (from > a) between(low, most, [...before, [a, a]], found);
  if (from <= to) between(least, most, [...before, [from, to]], found);
  if (to < b) between(least, high, [...before, [b, b]], found);
}

function encode(code: number): number[] {
  if (code < 0x80) return [code];
  const last = (shift: number): number => 0x80 | ((code >> shift) & 0x3f);
  if (code < 0x800) return [0xc0 | (code >> 6), last(0)];
  return code < 0x10000 ? [0xe0 | (code >> 12), last(6), last(0)] : [0xf0 | (code >> 18), last(12), last(6), last(0)];
}
