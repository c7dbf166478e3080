// What a bundle of SmolVLM says of pictures.
import type { ImageFacts } from "../src/images/facts.js";

export const SMOLVLM: ImageFacts = {
  tile: 512,
  patch: 16,
  merge: 4,
  resample: "lanczos",
  longest_edge: 2048,
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
  token: "<image>",
  row: "<image>",
  prompt: {
    tile: "<fake_token_around_image><row_{row}_col_{column}>",
    row_end: "\n",
    before_whole: "\n",
    whole: "<fake_token_around_image><global-img>",
    end: "<fake_token_around_image>",
  },
};
/** The same in small: a tile is one row of the model. */
export const SMALL: ImageFacts = { ...SMOLVLM, tile: 8, patch: 2, merge: 4, longest_edge: 16 };
