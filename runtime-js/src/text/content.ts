// Holds what a message says: words, or words and pictures in parts.

/** A URL (data:, http:, https: or blob:), or what a page has pictures in: a Blob or File, an ImageBitmap, a canvas,
 * ImageData, an image element, a frame of a video. */
export type ImageSource = string | ImageBitmapSource;

export interface WordsPart {
  readonly type: "text";
  readonly text: string;
}
export interface PicturePart {
  readonly type: "image";
  readonly image: ImageSource;
  /** Give the model the whole picture in little, and nothing of it in large. */
  readonly detail?: "low";
}
export type ContentPart = WordsPart | PicturePart;
/** In parts where there are pictures. */
export type Content = string | readonly ContentPart[];

/** Which kind of object it is, also of another window's. */
export const kindOf = (value: unknown): string => Object.prototype.toString.call(value).slice("[object ".length, -1);

/** What a page has pictures in, by their kinds: data, which any port carries, */
export const CARRIED: readonly string[] = ["Blob", "File", "ImageBitmap", "ImageData"];
/** and what a bitmap is made of first. */
export const DRAWN: readonly string[] = [
  ...["HTMLCanvasElement", "HTMLImageElement", "HTMLVideoElement"],
  ...["OffscreenCanvas", "SVGImageElement", "VideoFrame"],
];

export const partsOf = (content: Content): readonly ContentPart[] =>
  typeof content === "string" ? [{ type: "text", text: content }] : content;

/** The words alone. */
export const wordsOf = (content: Content): string =>
  typeof content === "string" ? content : content.map((part) => (part.type === "text" ? part.text : "")).join("");

/** One after the other, with `between` in the words between them; words alone stay a string. */
export function joinContents(first: Content, second: Content, between: string): Content {
  if (first === "") return second;
  if (second === "") return first;
  if (typeof first === "string" && typeof second === "string") return first + between + second;
  const parts = [...partsOf(first)];
  const [next, ...rest] = partsOf(second);
  const last = parts.at(-1);
  // Templates may trim a part, and would trim one that is nothing but space.
  if (last?.type === "text") parts[parts.length - 1] = { type: "text", text: last.text + between };
  else if (next?.type === "text") return [...parts, { type: "text", text: between + next.text }, ...rest];
  else parts.push({ type: "text", text: between });
  return [...parts, ...(next ? [next] : []), ...rest];
}
