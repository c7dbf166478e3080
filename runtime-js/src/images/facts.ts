// Says what follows from what a bundle says of pictures.
import type { ImageFacts } from "../contract/index.js";

export type { ImageFacts };

/** Rows of the model that one tile becomes. */
export const rowsOfTile = ({ tile, patch, merge }: ImageFacts): number => (tile / patch / merge) ** 2;
