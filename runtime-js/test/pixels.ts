// Has pictures for Node, which has none: image data, and a decoder that stands for the browser's.
import { vi } from "vitest";
import type { Rgb } from "../src/images/resize.js";

/** What browsers have by the name ImageData. */
export class Pixels {
  readonly [Symbol.toStringTag] = "ImageData";
  readonly data: Uint8ClampedArray;
  constructor(
    readonly width: number,
    readonly height: number,
    rgba: readonly number[] = [1, 2, 3, 255],
  ) {
    this.data = Uint8ClampedArray.from({ length: width * height * 4 }, (_, i) => rgba[i % 4]!);
  }
}

/** A browser whose pictures have this size, and what `read` gives for a color. A blob of the text "broken" is none.
 * Gives what hears that bitmaps are closed. */
export function browserOf(width: number, height: number, read: () => number[] = () => [7, 8, 9, 255]) {
  const close = vi.fn();
  vi.stubGlobal("createImageBitmap", async (of: Blob) => {
    if (of instanceof Blob && (await of.text()) === "broken") throw new DOMException("no picture.");
    return { [Symbol.toStringTag]: "ImageBitmap", of, width, height, close };
  });
  vi.stubGlobal(
    "OffscreenCanvas",
    class {
      getContext = () => ({
        fillRect() {},
        drawImage() {},
        getImageData: (_x: number, _y: number, w: number, h: number) => new Pixels(w, h, read()),
      });
    },
  );
  return close;
}

/** A picture by the formula of tests/fixtures/pictures/make.py. */
export function formula(width: number, height: number): Rgb {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) data[at++] = x * x * 3 + y * 17 + c * 91 + ((x * y) >> 2);
  return { width, height, data };
}

export async function sha256(data: Uint8Array): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", data as BufferSource));
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
