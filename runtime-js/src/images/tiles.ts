// Cuts a picture into the square tiles that a vision tower reads, as transformers' Idefics3 does.
import type { ImageFacts } from "./facts.js";
import { type Rgb, resize } from "./resize.js";

export interface Tiles {
  /** RGB of each tile, row by row, and last the whole picture as one. One tile alone is the whole picture. */
  readonly tiles: readonly Uint8Array[];
  /** How many tiles there are below and beside each other; 0 for one tile alone. */
  readonly rows: number;
  readonly columns: number;
  /** Of the one tile, in pixels, where a picture is seen as a whole, whatever its shape. */
  readonly size?: Size;
}
export interface Size {
  readonly width: number;
  readonly height: number;
}
type Splitting = Pick<ImageFacts, "resample" | "longest_edge"> & { readonly tile: number };

/** No side is longer, whatever a bundle says. */
const LONGEST = 4096;

/** `whole`: as one tile, which is not split. */
export function tilesOf(picture: Rgb, facts: Splitting, whole = false): Tiles {
  const { tile, resample } = facts;
  const scaled = facts.longest_edge === undefined ? picture : to(picture, scaledSize(picture, facts.longest_edge));
  const { rows, columns } = tileGrid(picture, facts, whole);
  if (rows === 0) return { tiles: [resize(scaled, tile, tile, resample).data], rows, columns };
  const filled = resize(scaled, columns * tile, rows * tile, resample);
  const tiles: Uint8Array[] = [];
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) tiles.push(cut(filled, row, column, tile));
  tiles.push(resize(filled, tile, tile, resample).data);
  return { tiles, rows, columns };

  function to(from: Rgb, { width, height }: Size): Rgb {
    return resize(from, width, height, resample);
  }
}

/** How a picture of a size is split; 0 for one tile alone. */
export function tileGrid(size: Size, { tile, longest_edge }: Splitting, whole = false): Omit<Tiles, "tiles"> {
  if (whole || longest_edge === undefined) return { rows: 0, columns: 0 };
  const { width, height } = scaledSize(size, longest_edge);
  const aspect = width / height;
  const up = (side: number): number => Math.ceil(side / tile);
  // The shorter side is of the longer's new length, in whole tiles.
  const columns = width >= height ? up(width) : up(Math.trunc(up(height) * tile * aspect));
  const rows = width >= height ? up(Math.trunc((up(width) * tile) / aspect)) : up(height);
  return rows > 1 || columns > 1 ? { rows, columns } : { rows: 0, columns: 0 };
}

/** The longer side as long as that, and the shorter of an even length. */
function scaledSize({ width, height }: Size, longest: number): Size {
  const aspect = width / height;
  const even = (side: number): number => Math.max(1, side + (side % 2));
  const scaled =
    width >= height
      ? { width: longest, height: even(Math.trunc(longest / aspect)) }
      : { width: even(Math.trunc(longest * aspect)), height: longest };
  return longest > LONGEST ? bounded(scaled) : scaled;
}

function bounded({ width, height }: Size): Size {
  const aspect = width / height;
  return width >= height
    ? { width: LONGEST, height: Math.max(1, Math.trunc(LONGEST / aspect)) }
    : { width: Math.max(1, Math.trunc(LONGEST * aspect)), height: LONGEST };
}

function cut({ width, data }: Rgb, row: number, column: number, tile: number): Uint8Array {
  const out = new Uint8Array(tile * tile * 3);
  for (let y = 0; y < tile; y++) {
    const from = ((row * tile + y) * width + column * tile) * 3;
    out.set(data.subarray(from, from + tile * 3), y * tile * 3);
  }
  return out;
}
