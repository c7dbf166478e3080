// Declares what a bundle says of the pictures that its model takes. The compiler's contract has the same fields.

export interface ImageFacts {
  /** Pixels of a tile's side. */
  readonly tile: number;
  /** Pixels of a patch's side. */
  readonly patch: number;
  /** Patches a side that become one row of the model. */
  readonly merge: number;
  readonly resample: "lanczos" | "bicubic" | "bilinear";
  /** The picture's longer side becomes so long, and the picture is split in tiles. Without it, the whole picture is
   * resized to one tile. */
  readonly longest_edge?: number;
  /** Of three channels, of values from 0 to 1. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** What the chat template writes for a picture. */
  readonly token: string;
  /** The special token that stands for one row. */
  readonly row: string;
  /** What stands around the rows. `tile` has `{row}` and `{column}`, which count from 1. */
  readonly prompt: {
    readonly tile: string;
    readonly row_end: string;
    readonly before_whole: string;
    readonly whole: string;
    readonly end: string;
  };
}

/** Rows of the model that one tile becomes. */
export const rowsOfTile = ({ tile, patch, merge }: ImageFacts): number => (tile / patch / merge) ** 2;
