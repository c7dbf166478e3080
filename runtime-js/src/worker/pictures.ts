// Makes bitmaps of a request's canvases and elements, which cannot cross to a worker: bitmaps can.
import { InvalidRequestError } from "../errors.js";
import { kindOf } from "../text/content.js";

const DRAWN = [
  ...["HTMLCanvasElement", "HTMLImageElement", "HTMLVideoElement"],
  ...["OffscreenCanvas", "SVGImageElement", "VideoFrame"],
];

type Fields = Readonly<Record<string, unknown>>;

/** The request itself, at once, where nothing is to be made; what is wrong in it stays, to be refused. Throws
 * InvalidRequestError, which names the picture, for one that no bitmap can be made of. */
export function portable(request: unknown): unknown {
  const messages = listOf((request as Fields | null | undefined)?.messages);
  const drawn = messages.some(({ content }) => listOf(content).some(isDrawn));
  return drawn ? withBitmaps(request as Fields, messages) : request;
}

async function withBitmaps(request: Fields, messages: readonly Fields[]): Promise<Fields> {
  const turns = messages.map(async (message, i) => {
    if (!Array.isArray(message.content)) return message;
    const parts = (message.content as Fields[]).map(async (part, j) =>
      isDrawn(part) ? { ...part, image: await bitmapOf(part.image, `messages[${i}].content[${j}]`) } : part,
    );
    return { ...message, content: await Promise.all(parts) };
  });
  return { ...request, messages: await Promise.all(turns) };
}

async function bitmapOf(image: unknown, path: string): Promise<ImageBitmap> {
  try {
    if (kindOf(image) === "HTMLImageElement") await (image as HTMLImageElement).decode(); // it may still load
    return await createImageBitmap(image as ImageBitmapSource);
  } catch (error) {
    throw new InvalidRequestError(
      path,
      `no bitmap can be made of it: ${(error as Error).message}`,
      "Give a picture that this browser shows. Draw an SVG to a canvas first.",
    );
  }
}

const isDrawn = (part: Fields): boolean => part.type === "image" && DRAWN.includes(kindOf(part.image));

/** The objects of a list; none where it is no list, or has others. */
function listOf(value: unknown): readonly Fields[] {
  const objects = Array.isArray(value) && value.every((item) => typeof item === "object" && item !== null);
  return objects ? (value as Fields[]) : [];
}
