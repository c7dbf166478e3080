// Pictures are resized as Pillow does, and cut, normalized and written into prompts as transformers' Idefics3 does
// (tests/fixtures/pictures/make.py).
import { describe, expect, it } from "vitest";
import fixture from "../../tests/fixtures/pictures/expected.json";
import { InvalidRequestError } from "../src/errors.js";
import { sizeInFile } from "../src/images/header.js";
import { patchesOf } from "../src/images/patches.js";
import { expandPictures, picturePrompt } from "../src/images/prompt.js";
import { type Resample, resize } from "../src/images/resize.js";
import { tilesOf } from "../src/images/tiles.js";
import { formula as picture, sha256 } from "./pixels.js";
import { SMALL, SMOLVLM } from "./smolvlm.js";

describe("resize", () => {
  it.each(fixture.resized)("$resample from $from to $to", async ({ resample, from, to, first, sha256: hash }) => {
    const { width, height, data } = resize(picture(from[0]!, from[1]!), to[0]!, to[1]!, resample as Resample);
    expect([width, height]).toEqual(to);
    expect([...data.subarray(0, 24)]).toEqual(first);
    expect(await sha256(data)).toBe(hash);
  });
});

describe("sizeInFile", () => {
  const bytesOf = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

  it.each(fixture.files)("of $kind", ({ base64 }) => {
    expect(sizeInFile(bytesOf(base64))).toEqual({ width: 37, height: 21 });
  });

  it.each(fixture.files)("knows no size of $kind that is cut", ({ base64 }) => {
    const bytes = bytesOf(base64);
    for (const length of [0, 1, 3, 9]) expect(sizeInFile(bytes.subarray(0, length))).toBeUndefined();
    // No cut may do more harm than that.
    for (let length = 10; length < bytes.length; length++) sizeInFile(bytes.subarray(0, length));
  });

  it("knows none of other files", () => {
    for (const text of ["", "words, and more than a few of them", "RIFF....WEBPVP8Q and what follows it"])
      expect(sizeInFile(new TextEncoder().encode(text))).toBeUndefined();
  });
});

describe("tilesOf", () => {
  it.each(fixture.tiles)(
    "$size in tiles of $tile",
    async ({ tile, longest_edge, size, whole, rows, columns, sha256: all }) => {
      const made = tilesOf(picture(size[0]!, size[1]!), { ...SMOLVLM, tile, longest_edge }, whole);
      expect([made.rows, made.columns]).toEqual([rows, columns]);
      expect(await Promise.all(made.tiles.map(sha256))).toEqual(all);
    },
  );

  it("resizes to one tile where the bundle says nothing of splitting", () => {
    const { longest_edge: _, ...facts } = SMALL;
    const { tiles, rows, columns } = tilesOf(picture(30, 7), { ...facts, tile: 8 });
    expect({ rows, columns }).toEqual({ rows: 0, columns: 0 });
    expect(tiles).toEqual([resize(picture(30, 7), 8, 8, "lanczos").data]);
  });
});

describe("patchesOf", () => {
  const values = (rgb: Uint8Array, facts: object): Float32Array => patchesOf(rgb, { ...SMALL, ...facts });

  it("normalizes as transformers does", () => {
    const { mean, std, values: expected } = fixture.normalized;
    const got = values(picture(16, 16).data, { tile: 16, patch: 16, merge: 1, mean, std });
    expect(got.length).toBe(expected.length);
    got.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 5);
    });
  });

  it("puts the patches of a block beside each other", () => {
    // Each pixel's red tells which patch of 4 by 4 it is in.
    const rgb = new Uint8Array(8 * 8 * 3);
    for (let i = 0; i < 64; i++) rgb[i * 3] = (i >> 4) * 4 + ((i & 7) >> 1);
    const got = values(rgb, { merge: 2, mean: [0, 0, 0], std: [1 / 255, 1, 1] });
    const patches = Array.from({ length: 16 }, (_, i) => Math.round(got[i * 12]!));
    expect(patches).toEqual([0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]);
    expect([...got.subarray(12, 24)].map(Math.round)).toEqual([1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it("has a patch's values by channel, then y, then x", () => {
    const rgb = Uint8Array.from({ length: 2 * 2 * 3 }, (_, i) => i);
    const got = values(rgb, { tile: 2, patch: 2, merge: 1, mean: [0, 0, 0], std: [1 / 255, 1 / 255, 1 / 255] });
    expect([...got].map(Math.round)).toEqual([0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
  });
});

describe("prompts", () => {
  const facts = { ...SMOLVLM, tile: 128 }; // four rows
  it.each(fixture.prompts)("$rows by $columns", ({ text, ...grid }) => {
    expect(picturePrompt(facts, grid)).toBe(text);
  });

  it("puts pictures in their places", () => {
    const one = picturePrompt(SMALL, { rows: 0, columns: 0 });
    expect(one).toBe("<fake_token_around_image><global-img><image><fake_token_around_image>");
    const text = expandPictures("User:<image>and $& <image>?", SMALL, [
      { rows: 0, columns: 0 },
      { rows: 1, columns: 1 },
    ]);
    expect(text).toBe(`User:${one}and $& <fake_token_around_image><row_1_col_1><image>\n\n${one}?`);
  });

  it("says where there are more places than pictures, and fewer", () => {
    const more = (): string => expandPictures("<image> <image>", SMALL, [{ rows: 0, columns: 0 }]);
    expect(more).toThrow(InvalidRequestError);
    expect(more).toThrow("messages: a text has <image>, which stands for pictures.");
    expect(() => expandPictures("<image>", SMALL, [])).toThrow("a text has <image>");
    expect(() => expandPictures("words", SMALL, [{ rows: 0, columns: 0 }])).toThrow(
      "the model's chat template has places for 0 of the 1 pictures.",
    );
    const gemma = { ...SMALL, token: "<start_of_image>", row: "<image_soft_token>" };
    expect(() => expandPictures("<image_soft_token>", gemma, [])).toThrow("a text has <image_soft_token>");
  });
});
