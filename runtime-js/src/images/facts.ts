// Says what follows from what a bundle says of pictures.
import type { ImageFacts } from "../contract/index.js";
import type { Size } from "./tiles.js";

export type { ImageFacts };

/** Of what a tower sees in a call: patches below and beside each other. */
export interface Shape {
  readonly lines: number;
  readonly columns: number;
}
type Parts = Pick<ImageFacts, "patch" | "merge">;

/** Which rows of what a tower sees, line by line, are in each window of so many rows a side, or in one of all: patches
 * come in this order. */
export function windowsOf({ lines, columns }: Shape, merge: number, side = Infinity): number[][] {
  const below = lines / merge;
  const beside = columns / merge;
  const windows: number[][] = [];
  for (let top = 0; top < below; top += side)
    for (let left = 0; left < beside; left += side) {
      const rows: number[] = [];
      for (let line = top; line < Math.min(below, top + side); line++)
        for (let column = left; column < Math.min(beside, left + side); column++) rows.push(line * beside + column);
      windows.push(rows);
    }
  return windows;
}

/** Of so many pixels; those that are left over are not seen. */
export const shapeOf = ({ width, height }: Size, { patch }: Pick<ImageFacts, "patch">): Shape => ({
  lines: Math.floor(height / patch),
  columns: Math.floor(width / patch),
});

/** Rows of the model that it becomes. */
export const rowsOfShape = ({ lines, columns }: Shape, { merge }: Parts): number => (lines * columns) / merge ** 2;

/** Most patches of a call: those of a tile, or of the largest picture. */
export function mostPatches({ tile, pixels, patch, merge }: ImageFacts): number {
  if (tile !== undefined) return Math.floor(tile / patch) ** 2;
  return Math.floor((pixels?.most ?? 0) / (patch * merge) ** 2) * merge ** 2;
}

/** Rows that they become. */
export const mostRows = (facts: ImageFacts): number => mostPatches(facts) / facts.merge ** 2;

/** The same where a picture that is seen as a whole takes half of a context of so many tokens at most, as the compiler
 * has it for the longest. */
export function within(facts: ImageFacts, contextLength: number): ImageFacts {
  const { pixels, patch, merge } = facts;
  const most = Math.max(1, Math.floor(contextLength / 2)) * (patch * merge) ** 2;
  if (!pixels || pixels.most <= most) return facts;
  return { ...facts, pixels: { least: Math.min(pixels.least, most), most } };
}

/** Of a tile, or of a picture that is seen as a whole. */
export const sizeOf = ({ tile }: Pick<ImageFacts, "tile">, whole: Size | undefined): Size =>
  whole ?? { width: tile!, height: tile! };

/** Of the picture that a bundle is checked with: a tile, or 2 x 5 rows, as mlcweb/contract/pictures.py has it. */
export function sampleSize(facts: ImageFacts): Size {
  const side = facts.merge * facts.patch;
  return sizeOf(facts, facts.pixels && { width: 5 * side, height: 2 * side });
}
