// Decodes pictures to 8-bit RGB with the browser's own decoders, in a page or in a worker.
import { InvalidRequestError, throwIfAborted } from "../errors.js";
import type { ImageSource } from "../text/content.js";
import type { Rgb } from "./resize.js";

const MOST_PIXELS = 100e6;
const LONGEST_SIDE = 65_535;
/** Pixels that are taken out of a canvas at a time. */
const STRIP = 1 << 22;

type Given = Exclude<ImageSource, string>;

/** As it is to be seen: turned as its EXIF data say, and transparency on white. `path` names it in errors. Throws
 * InvalidRequestError for what is no picture, or too large. */
export async function decodePicture(given: Given, path: string, signal?: AbortSignal): Promise<Rgb> {
  if (isImageData(given)) {
    checkSize(given, path);
    return { width: given.width, height: given.height, data: onWhite(given.data) };
  }
  if (given instanceof Blob && given.size === 0) throw broken(path, "is empty.");
  // A bitmap of its own does not change while it is read.
  const bitmap = await toBitmap(given, path);
  try {
    throwIfAborted(signal);
    checkSize(bitmap, path);
    return pixelsOf(bitmap, path);
  } finally {
    bitmap.close();
  }
}

const isImageData = (value: object): value is ImageData => "data" in value && "width" in value;

async function toBitmap(source: Exclude<Given, ImageData>, path: string): Promise<ImageBitmap> {
  try {
    if ("decode" in source) await source.decode(); // an element that still loads
    return await createImageBitmap(source, { imageOrientation: "from-image" });
  } catch (error) {
    const type = source instanceof Blob ? source.type : "";
    throw broken(path, `cannot be decoded${type && ` (${type})`}: ${(error as Error).message}`);
  }
}

function checkSize({ width, height }: { readonly width: number; readonly height: number }, path: string): void {
  if (width === 0 || height === 0) throw broken(path, "has no pixels.");
  if (width > LONGEST_SIDE || height > LONGEST_SIDE || width * height > MOST_PIXELS)
    throw new InvalidRequestError(
      path,
      `has ${width} x ${height} pixels, more than can be read.`,
      `Make it smaller: it may have ${MOST_PIXELS / 1e6} million, and ${LONGEST_SIDE} on a side.`,
    );
}

/** In strips, so that no canvas is larger than it must be. */
function pixelsOf(bitmap: ImageBitmap, path: string): Rgb {
  const { width, height } = bitmap;
  const data = new Uint8Array(width * height * 3);
  const rows = Math.max(1, Math.min(height, Math.floor(STRIP / width)));
  const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true });
  if (!context) throw broken(path, "cannot be drawn: this browser gives no canvas of its size.");
  for (let top = 0; top < height; top += rows) {
    const strip = Math.min(rows, height - top);
    context.fillStyle = "white";
    context.fillRect(0, 0, width, strip);
    context.drawImage(bitmap, 0, -top);
    data.set(onWhite(readStrip(context, width, strip, path)), top * width * 3);
  }
  return { width, height, data };
}

function readStrip(
  context: OffscreenCanvasRenderingContext2D,
  width: number,
  height: number,
  path: string,
): Uint8ClampedArray {
  try {
    return context.getImageData(0, 0, width, height).data;
  } catch (error) {
    throw new InvalidRequestError(
      path,
      `the page may not read its pixels: ${(error as Error).message}`,
      'It is of another origin. Load it with crossOrigin = "anonymous", from a host that sends CORS headers.',
    );
  }
}

/** Three bytes of each pixel's four. */
function onWhite(rgba: Uint8ClampedArray): Uint8Array {
  const data = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    const alpha = rgba[from + 3]!;
    const white = 255 - alpha;
    for (let channel = 0; channel < 3; channel++) {
      const value = rgba[from + channel]!;
      data[to + channel] = white === 0 ? value : Math.round((value * alpha) / 255 + white);
    }
  }
  return data;
}

function broken(path: string, message: string): InvalidRequestError {
  return new InvalidRequestError(
    path,
    message,
    "Give a picture that this browser shows, such as a PNG, a JPEG or a WebP. Draw an SVG to a canvas first.",
  );
}
