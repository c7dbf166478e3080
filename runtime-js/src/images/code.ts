// Gathers what the engine calls of this folder, by types that are its own.
import { patchesOf } from "./patches.js";
import { checkPlaces, expandPictures } from "./prompt.js";
import { readPictures } from "./read.js";

export const code = { checkPlaces, expandPictures, patchesOf, readPictures } as const;
export type ImagesCode = typeof code;
