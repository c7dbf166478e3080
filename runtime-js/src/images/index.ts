// This folder makes of pictures what a vision tower reads: it decodes, resizes and cuts them into patches, and writes
// their places into prompts. The engine fetches it with the first picture.
export { type ImageFacts, rowsOfTile } from "./facts.js";
export { patchesOf } from "./patches.js";
export { expandPictures, picturePrompt } from "./prompt.js";
export { type Resample, type Rgb, resize } from "./resize.js";
export { type Tiles, tileGrid, tilesOf } from "./tiles.js";
