import { expect, test } from "vitest";
import { endsOf, wholeChunk } from "../src/decode/whole_pictures.js";

const TEXT = [5, 6, 7];
const picture = (first: number, rows: number): number[] => Array.from({ length: rows }, (_, i) => -(first + i));

test("a chunk ends before a picture that it would cut", () => {
  const prompt = [...TEXT, ...picture(1, 4), 8, ...picture(5, 4), 9, 9, 9];
  expect(wholeChunk(prompt, 0, 3)).toBe(3);
  expect(wholeChunk(prompt, 0, 5)).toBe(3);
  expect(wholeChunk(prompt, 3, 5)).toBe(8);
  expect(wholeChunk(prompt, 0, 7)).toBe(7); // a whole picture is at its end
  expect(wholeChunk(prompt, 0, 10)).toBe(8);
  expect(wholeChunk(prompt, 8, 5)).toBe(13);
});

test("a picture that is longer than a chunk is refused", () => {
  expect(() => wholeChunk([...TEXT, ...picture(1, 6), 1], 3, 5)).toThrow(/more than 5 rows of pictures side by side/);
});

test("a token sees up to itself, and a row up to its picture's last", () => {
  const tokens = [5, ...picture(1, 3), 6, ...picture(7, 2)];
  expect([...endsOf(tokens, 10)]).toEqual([11, 14, 14, 14, 15, 17, 17]);
  expect([...endsOf(TEXT, 0)]).toEqual([1, 2, 3]);
});
