// Has pictures for Node, which has none: image data, and a decoder that stands for the browser's.
import { vi } from "vitest";

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
