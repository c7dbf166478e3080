// Pictures that are seen as a whole are resized and cut as transformers' Qwen2-VL does
// (tests/fixtures/pictures/make.py).
import { describe, expect, it } from "vitest";
import fixture from "../../tests/fixtures/pictures/expected.json";
import { InvalidRequestError } from "../src/errors.js";
import { type ImageFacts, mostPatches, mostRows, windowsOf, within } from "../src/images/facts.js";
import { patchesOf } from "../src/images/patches.js";
import { expandPictures, picturePrompt } from "../src/images/prompt.js";
import { fittedSize, wholeOf } from "../src/images/whole.js";
import { formula, sha256 } from "./pixels.js";

const QWEN: ImageFacts & { readonly pixels: NonNullable<ImageFacts["pixels"]> } = {
  pixels: { least: 65536, most: 1 << 20 },
  patch: 16,
  merge: 2,
  resample: "bicubic",
  mean: [0, 0, 0],
  std: [1 / 255, 1 / 255, 1 / 255], // so that a patch has the bytes themselves
  token: "<|image_pad|>",
  row: "<|image_pad|>",
  prompt: { tile: "", row_end: "", before_whole: "", whole: "", end: "" },
};

describe("wholeOf", () => {
  it.each(fixture.wholes)("$size in patches of $patch", async ({ size, least, most, patch, fitted, sha256: hash }) => {
    const facts = { ...QWEN, pixels: { least, most }, patch };
    const { tiles, ...made } = wholeOf(formula(size[0]!, size[1]!), facts, "at");
    expect(made).toEqual({ rows: 0, columns: 0, size: { width: fitted[0]!, height: fitted[1]! } });
    const patches = patchesOf(tiles[0]!, facts, made.size);
    expect(await sha256(Uint8Array.from(patches, Math.round))).toBe(hash);
  });

  it("makes a small one where that is asked for", () => {
    const picture = formula(1600, 1200);
    const { size } = wholeOf(picture, QWEN, "at", true);
    expect(size!.width * size!.height).toBeLessThanOrEqual(512 ** 2);
    expect(size!.width * size!.height).toBeGreaterThan(0.8 * 512 ** 2);
    // what is small already stays as it is
    expect(wholeOf(formula(320, 320), QWEN, "at", true).size).toEqual({ width: 320, height: 320 });
  });

  it("refuses what is too narrow, and says the limit", () => {
    const narrow = { width: 20_000, height: 10, data: new Uint8Array(600_000) };
    expect(() => wholeOf(narrow, QWEN, "messages[0]")).toThrow(InvalidRequestError);
    expect(() => wholeOf(narrow, QWEN, "messages[0]")).toThrow(
      "messages[0]: has 20000 x 10 pixels: one side is more than 200 times the other.",
    );
    expect(() => wholeOf({ width: 1, height: 201, data: new Uint8Array(603) }, QWEN, "at")).toThrow("200 times");
    expect(wholeOf({ width: 1, height: 200, data: new Uint8Array(600) }, QWEN, "at").size!.width).toBe(32);
  });

  it("never makes more than the tower has room for", () => {
    for (const [width, height] of [
      [200, 1],
      [1, 1],
      [7, 900],
      [5000, 26],
    ] as const)
      for (const rows of [1, 2, 7, 48]) {
        const pixels = { least: Math.min(65536, rows * 1024), most: rows * 1024 };
        const size = fittedSize({ width, height }, { ...QWEN, pixels });
        expect(size.width * size.height).toBeLessThanOrEqual(pixels.most);
        expect([size.width % 32, size.height % 32, Math.min(size.width, size.height) > 0]).toEqual([0, 0, true]);
      }
  });
});

describe("windows", () => {
  const shape = { lines: 6, columns: 10 };

  it("are whole but at the right and below", () => {
    expect(windowsOf(shape, 2, 2)).toEqual([[0, 1, 5, 6], [2, 3, 7, 8], [4, 9], [10, 11], [12, 13], [14]]);
    expect(windowsOf(shape, 2)).toEqual([Array.from({ length: 15 }, (_, i) => i)]);
  });

  it("say the order of patches", () => {
    const small = { ...QWEN, patch: 1 };
    const size = { width: 10, height: 6 };
    const rgb = formula(10, 6).data;
    const rows = (facts: typeof small & { window?: number }): number[][] => {
      const patches = patchesOf(rgb, facts, size);
      return Array.from({ length: 15 }, (_, i) => [...patches.subarray(12 * i, 12 * i + 12)]);
    };
    const plain = rows(small);
    expect(rows({ ...small, window: 2 })).toEqual(
      windowsOf(shape, 2, 2)
        .flat()
        .map((row) => plain[row]),
    );
  });
});

describe("the most of a picture", () => {
  it("is half of a context", () => {
    expect([mostRows(QWEN), mostPatches(QWEN)]).toEqual([1024, 4096]);
    expect(within(QWEN, 4096)).toBe(QWEN); // what is the same is remembered by the object
    expect(within(QWEN, 1000).pixels).toEqual({ least: 65536, most: 500 * 1024 });
    expect(within(QWEN, 96).pixels).toEqual({ least: 48 * 1024, most: 48 * 1024 });
    expect(mostRows(within(QWEN, 1))).toBe(1);
  });

  it("is a tile's where there are tiles", () => {
    const { pixels: _, ...facts } = QWEN;
    const tiled = { ...facts, tile: 100 };
    expect(mostPatches(tiled)).toBe(36);
    expect(within(tiled, 4)).toBe(tiled);
  });
});

describe("prompts", () => {
  const size = { width: 96, height: 64 };

  it("have a token for each row, and nothing around them that the template has not", () => {
    expect(picturePrompt(QWEN, { rows: 0, columns: 0, size })).toBe("<|image_pad|>".repeat(6));
    const rendered = "<|vision_start|><|image_pad|><|vision_end|>What?";
    expect(expandPictures(rendered, QWEN, [{ rows: 0, columns: 0, size }])).toBe(
      `<|vision_start|>${"<|image_pad|>".repeat(6)}<|vision_end|>What?`,
    );
  });

  it("refuse the token in words", () => {
    expect(() => expandPictures("<|image_pad|>", QWEN, [])).toThrow("a text has <|image_pad|>");
  });
});
