// Checks what a message says: words, and the pictures of users' messages.
import { InvalidRequestError } from "../errors.js";
import { CARRIED, type Content, type ContentPart, DRAWN, kindOf, type PicturePart } from "../text/content.js";
import type { ChatTurn } from "../text/template.js";
import { asRecord, refuseOthers } from "./fields.js";

/** A picture of a request, and where it stands there. */
export interface AskedPicture extends Pick<PicturePart, "image" | "detail"> {
  readonly path: string;
}

/** A string where there is no picture. Throws InvalidRequestError, which names the part. */
export function parseContent(content: unknown, path: string, role: string): Content {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw new InvalidRequestError(path, "must be a string or a list of parts.");
  const parts = content.map((part: unknown, i) => parsePart(part, `${path}[${i}]`));
  const at = parts.findIndex(({ type }) => type === "image");
  if (at < 0) return parts.map((part) => (part as { text: string }).text).join("");
  if (role !== "user")
    throw new InvalidRequestError(
      `${path}[${at}]`,
      `is a picture in a message of the role ${role}: only the user's may have some.`,
      "Put it into a message of the user.",
    );
  return parts;
}

function parsePart(part: unknown, path: string): ContentPart {
  const fields = (part ?? {}) as Record<string, unknown>;
  const { type, text } = fields;
  if (type === "text" && typeof text === "string") return { type, text };
  if (type === "image_url") {
    const given = typeof fields.image_url === "string" ? { url: fields.image_url } : fields.image_url;
    const { url, detail, ...others } = asRecord(given, `${path}.image_url`);
    refuseOthers(others, {}, `${path}.image_url.`);
    if (typeof url !== "string") throw new InvalidRequestError(`${path}.image_url.url`, "must be a string.");
    return {
      type: "image",
      image: checkUrl(url, `${path}.image_url.url`),
      ...parseDetail(detail, `${path}.image_url`),
    };
  }
  if (type === "image")
    return { type, image: parseImage(fields.image, `${path}.image`), ...parseDetail(fields.detail, path) };
  throw new InvalidRequestError(path, "must be a part of the type text, image_url or image.");
}

function parseImage(image: unknown, path: string): PicturePart["image"] {
  if (typeof image === "string") return checkUrl(image, path);
  if ([...CARRIED, ...DRAWN].includes(kindOf(image))) return image as PicturePart["image"];
  throw new InvalidRequestError(
    path,
    "must be a picture.",
    "Give a Blob or File, an ImageBitmap, a canvas, ImageData, an image element, or a URL.",
  );
}

function checkUrl(url: string, path: string): string {
  if (/^(data|https?|blob):/i.test(url)) return url;
  throw new InvalidRequestError(
    path,
    "must be a URL that begins with data:, https:, http: or blob:.",
    "A worker does not know what a relative URL is relative to: make it whole with new URL(url, location.href).href.",
  );
}

function parseDetail(detail: unknown, path: string): Pick<PicturePart, "detail"> {
  if (detail == null || detail === "auto" || detail === "high") return {};
  if (detail === "low") return { detail };
  throw new InvalidRequestError(`${path}.detail`, "must be auto, low or high.");
}

/** The pictures of a chat, in their order. */
export function picturesOf(messages: readonly ChatTurn[]): AskedPicture[] {
  return messages.flatMap(({ content }, i) =>
    typeof content === "string"
      ? []
      : content.flatMap((part, j) =>
          part.type === "image"
            ? [{ image: part.image, ...(part.detail && { detail: part.detail }), path: `messages[${i}].content[${j}]` }]
            : [],
        ),
  );
}

/** Throws InvalidRequestError for the first picture. */
export function refusePictures(messages: readonly ChatTurn[]): void {
  const [first] = picturesOf(messages);
  if (first)
    throw new InvalidRequestError(first.path, "this model takes no pictures.", "Load a model that takes some.");
}
