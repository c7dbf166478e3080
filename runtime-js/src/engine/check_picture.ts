// Checks what a model makes of the picture that its bundle is checked with, which one formula makes here and there.

import type { PictureCheck, Step } from "../contract/index.js";
import type { Size } from "../images/tiles.js";
import type { Engine } from "./engine.js";

export interface PictureReport {
  readonly relative_difference: number;
  readonly ok: boolean;
}

/** `compare` is what steps are compared with. */
export async function checkPicture(
  engine: Pick<Engine, "logitsOfPicture">,
  { tokens, step }: PictureCheck,
  compare: (logits: Float32Array, step: Step) => PictureReport,
): Promise<PictureReport> {
  return compare(await engine.logitsOfPicture(tokens, samplePicture), step);
}

/** RGB of a tile or a picture, as mlcweb/contract/pictures.py makes it. */
function samplePicture({ width, height }: Size): Uint8Array {
  const rgb = new Uint8Array(3 * width * height);
  let at = 0;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let channel = 0; channel < 3; channel++)
        rgb[at++] = 7 * x + 13 * y + Math.floor((x * y) / 16) + 85 * channel;
  return rgb;
}
