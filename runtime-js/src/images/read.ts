// Reads the pictures of a request: from whatever a page has to the tiles that its model takes.
import { InvalidRequestError, throwIfAborted } from "../errors.js";
import type { ImageSource } from "../text/content.js";
import { checkSize, decodePicture } from "./decode.js";
import type { ImageFacts } from "./facts.js";
import { checkBytes, fetchPicture } from "./fetch.js";
import { hashOf } from "./hash.js";
import { sizeInFile } from "./header.js";
import { recentOf } from "./recent.js";
import { type Tiles, tilesOf } from "./tiles.js";
import { wholeOf } from "./whole.js";

/** A picture of a request; `path` says where it stands there. */
export interface PictureRequest {
  readonly image: ImageSource;
  readonly detail?: "low";
  readonly path: string;
}
/** What a model gets of a picture. */
export interface Picture extends Tiles {
  /** The same for the same tiles: tokens say only how many there are. */
  readonly key: string;
}

/** One after the other, since each takes memory while it is decoded. Throws InvalidRequestError for what is no picture,
 * NetworkError for what cannot be fetched, and CancelledError when the signal fires. */
export async function readPictures(
  asked: readonly PictureRequest[],
  facts: ImageFacts,
  signal?: AbortSignal,
): Promise<Picture[]> {
  const pictures: Picture[] = [];
  for (const one of asked) {
    pictures.push(await readPicture(one, facts, signal));
    throwIfAborted(signal);
  }
  return pictures;
}

/** A conversation has its pictures in each of its requests, so the last ones are kept. */
async function readPicture(
  { image, detail, path }: PictureRequest,
  facts: ImageFacts,
  signal: AbortSignal | undefined,
): Promise<Picture> {
  throwIfAborted(signal);
  let given = typeof image === "string" ? await fetchPicture(image, path, signal) : image;
  const recent = recentOf(facts);
  let file: string | undefined;
  if (given instanceof Blob) {
    checkBytes(given.size, path);
    const bytes = await bytesOf(given, path);
    file = `${detail} ${await hashOf([bytes])}`;
    const known = recent.get(file);
    if (known) return known;
    const size = sizeInFile(bytes);
    if (size) checkSize(size, path);
    // In one piece: Firefox knows no picture whose first piece is but a few bytes long.
    given = new Blob([bytes], { type: given.type });
  }
  const decoded = await decodePicture(given, path, signal);
  throwIfAborted(signal);
  const { tile, pixels } = facts;
  const small = detail === "low";
  const tiles =
    tile === undefined
      ? wholeOf(decoded, { ...facts, pixels: pixels! }, path, small)
      : tilesOf(decoded, { ...facts, tile }, small);
  const { rows, columns, size } = tiles;
  const picture = { ...tiles, key: `${rows}x${columns} ${size?.width}x${size?.height} ${await hashOf(tiles.tiles)}` };
  if (file !== undefined) recent.set(file, picture);
  return picture;
}

async function bytesOf(file: Blob, path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    throw new InvalidRequestError(
      path,
      `its file cannot be read: ${(error as Error).message}`,
      "It may have been moved or changed: choose it again.",
    );
  }
}
