// Tokens are where transformers puts them for RoPE (tests/fixtures/grids/make.py), however a prompt is cut and rewound.
import { describe, expect, it } from "vitest";
import fixture from "../../tests/fixtures/grids/places.json";
import { Axes, type RowPlace } from "../src/decode/axes.js";

interface Prompt {
  readonly tokens: number[];
  readonly placeOf: (token: number) => RowPlace;
}

/** Rows have tokens below 0, from -1 down. */
function promptOf(parts: readonly (number | readonly number[])[]): Prompt {
  const tokens: number[] = [];
  const rows: RowPlace[] = [];
  for (const part of parts) {
    const [lines, columns] = typeof part === "number" ? [0, 0] : (part as [number, number]);
    for (let word = 0; typeof part === "number" && word < part; word++) tokens.push(7);
    for (let index = 0; index < lines * columns; index++) {
      rows.push({ index, lines, columns });
      tokens.push(-rows.length);
    }
  }
  return { tokens, placeOf: (token) => rows[-token - 1]! };
}
const triples = (words: Int32Array): number[][] =>
  Array.from({ length: words.length / 4 }, (_, i) => [...words.subarray(4 * i, 4 * i + 3)]);

describe.each(fixture)("$parts", ({ parts, axes: expected, shift }) => {
  const { tokens, placeOf } = promptOf(parts);

  it("at once", () => {
    const axes = new Axes(placeOf);
    expect(triples(axes.feed(tokens, 0))).toEqual(expected);
    expect(axes.shift).toBe(shift);
    // what follows is one token after the other
    const after = Math.max(...expected.flat()) + 1;
    expect(triples(axes.feed([7, 7], tokens.length))).toEqual([
      [after, after, after],
      [after + 1, after + 1, after + 1],
    ]);
  });

  it.each([1, 2, 3, 5, 16])("in chunks of %i", (chunk) => {
    const axes = new Axes(placeOf);
    const made: number[][] = [];
    for (let at = 0; at < tokens.length; at += chunk)
      made.push(...triples(axes.feed(tokens.slice(at, at + chunk), at)));
    expect(made).toEqual(expected);
    expect(axes.shift).toBe(shift);
  });

  it("again from wherever it is rewound to", () => {
    const axes = new Axes(placeOf);
    axes.feed(tokens, 0);
    for (const back of [tokens.length - 1, Math.floor(tokens.length / 2), 1, 0]) {
      axes.feed([7, 7, 7], tokens.length); // an answer, of which nothing stays
      expect(triples(axes.feed(tokens.slice(back), back))).toEqual(expected.slice(back));
      expect(axes.shift).toBe(shift);
    }
  });
});

it("has words in the place of a picture that is forgotten", () => {
  const { tokens, placeOf } = promptOf([2, [2, 3], 1]);
  const axes = new Axes(placeOf);
  axes.feed(tokens, 0);
  expect(axes.shift).toBe(-3);
  expect(triples(axes.feed([7, 7], 2))).toEqual([
    [2, 2, 2],
    [3, 3, 3],
  ]);
  expect(axes.shift).toBe(0);
});
