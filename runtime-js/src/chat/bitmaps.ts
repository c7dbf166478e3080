// Makes bitmaps of a request's pictures: of canvases and elements, which cannot cross to a worker, and of all that may
// change while a conversation goes on.
import { InvalidRequestError } from "../errors.js";
import { DRAWN, kindOf } from "../text/content.js";

const CHANGING = [...DRAWN, "ImageBitmap", "ImageData"];

type Fields = Readonly<Record<string, unknown>>;

/** What can cross to a worker: the request itself, at once, where nothing is to be made. What is wrong in it stays, to
 * be refused. Throws InvalidRequestError, which names the picture, for one that no bitmap can be made of. */
export function portable<Request>(request: Request): Request | Promise<Request> {
  const messages = listOf((request as Fields | null | undefined)?.messages);
  if (!messages.some(({ content }) => listOf(content).some(isOf(DRAWN)))) return request;
  return withBitmaps(messages, DRAWN).then((made) => ({ ...request, messages: made }));
}

/** Messages whose pictures stay as they are now. Throws as `portable` does. */
export const lasting = <Message extends object>(messages: readonly Message[]): Promise<Message[]> =>
  withBitmaps(messages as readonly Fields[], CHANGING) as Promise<unknown[]> as Promise<Message[]>;

async function withBitmaps(messages: readonly Fields[], kinds: readonly string[]): Promise<Fields[]> {
  const turns = messages.map(async (message, i) => {
    if (!Array.isArray(message.content)) return message;
    const parts = (message.content as Fields[]).map(async (part, j) =>
      isOf(kinds)(part) ? { ...part, image: await bitmapOf(part.image, `messages[${i}].content[${j}]`) } : part,
    );
    return { ...message, content: await Promise.all(parts) };
  });
  return Promise.all(turns);
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

const isOf =
  (kinds: readonly string[]) =>
  (part: Fields): boolean =>
    part.type === "image" && kinds.includes(kindOf(part.image));

/** The objects of a list; none where it is no list, or has others. */
function listOf(value: unknown): readonly Fields[] {
  const objects = Array.isArray(value) && value.every((item) => typeof item === "object" && item !== null);
  return objects ? (value as Fields[]) : [];
}
