// Computes with sets of code points: sorted ranges that do not touch, without surrogates, which UTF-8 cannot write.
import type { Range } from "../grammar.js";

const LAST = 0x10ffff;
export const ANY: readonly Range[] = [
  [0, 0xd7ff],
  [0xe000, LAST],
];
export const DIGIT: readonly Range[] = [[48, 57]];
export const WORD: readonly Range[] = [
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
];
/** ECMA-262's WhiteSpace and LineTerminator, which are what `\s` stands for. */
export const SPACE: readonly Range[] = [
  [9, 13],
  [32, 32],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const LINE_END: readonly Range[] = [
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
];

/** What one range after the other leaves out. */
function gaps(sorted: readonly Range[]): Range[] {
  const left: Range[] = [];
  let next = 0;
  for (const [from, to] of sorted) {
    if (from > next) left.push([next, from - 1]);
    next = to + 1;
  }
  if (next <= LAST) left.push([next, LAST]);
  return left;
}

/** The ranges in order, joined where they touch, surrogates left out. */
export function union(ranges: readonly Range[]): Range[] {
  const joined: [number, number][] = [];
  for (const [from, to] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = joined.at(-1);
    if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else joined.push([from, to]);
  }
  return joined.flatMap(([from, to]): Range[] => {
    const parts: Range[] = [
      [from, Math.min(to, 0xd7ff)],
      [Math.max(from, 0xe000), to],
    ];
    return parts.filter((part) => part[0] <= part[1]);
  });
}

const complements = new WeakMap<readonly Range[], readonly Range[]>();

/** All other code points. */
export function complement(ranges: readonly Range[]): readonly Range[] {
  let others = complements.get(ranges);
  if (!others) {
    others = union(gaps(union(ranges)));
    complements.set(ranges, others);
  }
  return others;
}

/** What `.` stands for: all but the ends of lines. */
export const NOT_LINE_END: readonly Range[] = complement(LINE_END);

const properties = new Map<string, readonly Range[]>();
/** Where characters are. In the planes from 4 on but for this part of 14, all are alike except the last two. */
const SCANNED: readonly Range[] = [
  [0, 0xd7ff],
  [0xe000, 0xffff],
  [0x10000, 0x3ffff],
  [0xe0000, 0xe0fff],
];

/** The code points of `\p{name}`, as this JavaScript engine's Unicode has them; undefined for a name that it lacks. */
export function property(name: string): readonly Range[] | undefined {
  let ranges = properties.get(name);
  if (ranges) return ranges;
  const found: Range[] = [];
  try {
    const run = new RegExp(`\\p{${name}}+`, "gu"),
      one = new RegExp(`\\p{${name}}`, "u");
    for (const [first, last] of SCANNED) {
      const units = first > 0xffff ? 2 : 1;
      for (const match of everyCharacter(first, last).matchAll(run)) {
        const from = first + match.index / units;
        found.push([from, from + match[0].length / units - 1]);
      }
    }
    for (let plane = 4; plane <= 16; plane++) {
      const first = (plane << 16) + (plane === 14 ? 0x1000 : 0),
        last = (plane << 16) + 0xffff;
      if (one.test(String.fromCodePoint(first))) found.push([first, last - 2]);
      if (one.test(String.fromCodePoint(last))) found.push([last - 1, last]);
    }
  } catch {
    return undefined;
  }
  ranges = union(found);
  properties.set(name, ranges);
  return ranges;
}

function everyCharacter(first: number, last: number): string {
  const points = new Uint32Array(last - first + 1).map((_, i) => first + i);
  let all = "";
  for (let i = 0; i < points.length; i += 4096) all += String.fromCodePoint(...points.subarray(i, i + 4096));
  return all;
}
