// Resizes a picture that is seen as a whole, whatever its shape, as transformers' Qwen2-VL does.
import { InvalidRequestError } from "../errors.js";
import type { ImageFacts } from "./facts.js";
import { type Rgb, resize } from "./resize.js";
import type { Size, Tiles } from "./tiles.js";

type Fitting = Pick<ImageFacts, "patch" | "merge"> & { readonly pixels: NonNullable<ImageFacts["pixels"]> };

/** How much longer one side may be. */
const MOST_ASPECT = 200;
/** Pixels of a picture that is asked for in small. */
const SMALL = 512 ** 2;

/** `path` names it in errors. Throws InvalidRequestError for one that is too narrow. */
export function wholeOf(
  picture: Rgb,
  facts: Fitting & Pick<ImageFacts, "resample">,
  path: string,
  small = false,
): Tiles {
  const { width, height } = picture;
  if (Math.max(width, height) > MOST_ASPECT * Math.min(width, height))
    throw new InvalidRequestError(
      path,
      `has ${width} x ${height} pixels: one side is more than ${MOST_ASPECT} times the other.`,
      "Cut a part out of it, which the model can see.",
    );
  const size = fittedSize(picture, facts, small ? SMALL : Infinity);
  const { data } = resize(picture, size.width, size.height, facts.resample);
  return { tiles: [data], rows: 0, columns: 0, size };
}

/** Sides of whole rows, with about the picture's proportions. */
export function fittedSize({ width, height }: Size, { patch, merge, pixels }: Fitting, limit = Infinity): Size {
  const side = patch * merge;
  const { least } = pixels;
  const most = Math.min(pixels.most, Math.max(limit, least));
  const fit = (round: (x: number) => number, scale: number): [number, number] => [
    round((height * scale) / side),
    round((width * scale) / side),
  ];
  let [lines, columns] = fit(halfToEven, 1);
  if (lines * columns * side ** 2 > most) {
    const shrink = Math.sqrt((height * width) / most);
    lines = Math.max(1, Math.floor(height / shrink / side));
    columns = Math.max(1, Math.floor(width / shrink / side));
  } else if (lines * columns * side ** 2 < least) {
    [lines, columns] = fit(Math.ceil, Math.sqrt(least / (height * width)));
  }
  // A side cannot be less than a row, and then the other may be too long for the tower.
  while (lines * columns * side ** 2 > pixels.most) lines > columns ? lines-- : columns--;
  return { width: columns * side, height: lines * side };
}

/** As Python rounds. */
function halfToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
