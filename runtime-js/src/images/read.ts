// Reads the pictures of a request: from whatever a page has to the tiles that its model takes.
import { throwIfAborted } from "../errors.js";
import type { ImageSource } from "../text/content.js";
import { decodePicture } from "./decode.js";
import type { ImageFacts } from "./facts.js";
import { type Tiles, tilesOf } from "./tiles.js";

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
  for (const { image, detail, path } of asked) {
    const decoded = await decodePicture(image, path, signal);
    throwIfAborted(signal);
    const tiles = tilesOf(decoded, facts, detail === "low");
    pictures.push({ ...tiles, key: await keyOf(tiles) });
    throwIfAborted(signal);
  }
  return pictures;
}

async function keyOf({ tiles, rows, columns }: Tiles): Promise<string> {
  const hashes = await Promise.all(tiles.map((tile) => crypto.subtle.digest("SHA-256", tile as BufferSource)));
  const all = new Uint8Array(await new Blob(hashes).arrayBuffer());
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  return `${rows}x${columns}:${[...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
