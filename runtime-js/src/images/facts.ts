// Says what follows from what a bundle says of pictures.
import type { ImageFacts } from "../contract/index.js";

export type { ImageFacts };

/** Patches a side of a tile; pixels that are left over are not seen. */
export const sideOf = ({ tile, patch }: Pick<ImageFacts, "tile" | "patch">): number => Math.floor(tile / patch);

/** Patches of a tile. */
export const patchesOfTile = (facts: ImageFacts): number => sideOf(facts) ** 2;

/** Rows of the model that one tile becomes. */
export const rowsOfTile = (facts: ImageFacts): number => (sideOf(facts) / facts.merge) ** 2;
