// Checks what a model makes of the picture that its bundle is checked with, which one formula makes here and there.

import type { PictureCheck, Step } from "../contract/index.js";
import type { Engine } from "./engine.js";

export interface PictureReport {
  readonly relative_difference: number;
  readonly ok: boolean;
}

/** `compare` is what steps are compared with. */
export async function checkPicture(
  engine: Pick<Engine, "logitsOfTile">,
  { tokens, step }: PictureCheck,
  compare: (logits: Float32Array, step: Step) => PictureReport,
): Promise<PictureReport> {
  return compare(await engine.logitsOfTile(tokens, sampleTile), step);
}

/** RGB of a tile, as mlcweb/contract/pictures.py makes it. */
function sampleTile(side: number): Uint8Array {
  const rgb = new Uint8Array(3 * side * side);
  let at = 0;
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++)
      for (let channel = 0; channel < 3; channel++)
        rgb[at++] = 7 * x + 13 * y + Math.floor((x * y) / 16) + 85 * channel;
  return rgb;
}
