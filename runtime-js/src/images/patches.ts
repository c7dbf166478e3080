// Lays a tile's pixels out as a vision tower's first product takes them: patch by patch, normalized.
import { type ImageFacts, shapeOf, sizeOf, windowsOf } from "./facts.js";
import type { Size } from "./tiles.js";

type Layout = Pick<ImageFacts, "tile" | "patch" | "merge" | "mean" | "std" | "window">;

/** Float32 [patches, 3 * patch * patch] of a tile's RGB, or that of a `whole` picture of so many pixels. A patch's
 * values are by channel, then y, then x, as a convolution's weights lie. Patches are in blocks of `merge` by `merge`,
 * of which each becomes one row. */
export function patchesOf(rgb: Uint8Array, facts: Layout, whole?: Size): Float32Array<ArrayBuffer> {
  const { patch, merge, mean, std, window } = facts;
  const values = normalized(mean, std);
  const size = sizeOf(facts, whole);
  const shape = shapeOf(size, facts);
  const { lines, columns } = shape;
  const out = new Float32Array(lines * columns * 3 * patch * patch);
  let at = 0;
  for (const block of windowsOf(shape, merge, window).flat()) {
    const [top, left] = place(block, columns / merge);
    for (let within = 0; within < merge * merge; within++) {
      const [down, right] = place(within, merge);
      const corner = ((top * merge + down) * size.width + left * merge + right) * patch;
      for (let channel = 0; channel < 3; channel++)
        for (let y = 0; y < patch; y++)
          for (let x = 0; x < patch; x++)
            out[at++] = values[channel * 256 + rgb[(corner + y * size.width + x) * 3 + channel]!]!;
    }
  }
  return out;
}

const place = (index: number, across: number): [number, number] => [Math.floor(index / across), index % across];

/** What each byte becomes, for three channels. */
function normalized(mean: readonly number[], std: readonly number[]): Float32Array {
  return Float32Array.from({ length: 3 * 256 }, (_, i) => {
    const channel = i >> 8;
    return ((i & 255) / 255 - mean[channel]!) / std[channel]!;
  });
}
