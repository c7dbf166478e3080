// Gets the bytes of a picture that a request names by its URL.
import { CancelledError, InvalidRequestError, MlcwebError, NetworkError } from "../errors.js";

/** A picture's file may have so many bytes: what is larger is none that a page shows, and may have no end. */
const MOST_BYTES = 128 * 2 ** 20;

/** Throws InvalidRequestError for a URL that names no picture, and NetworkError where it cannot be fetched. */
export async function fetchPicture(url: string, path: string, signal?: AbortSignal): Promise<Blob> {
  // A page's policy may forbid to fetch data URLs, and nothing needs to be fetched.
  if (/^data:/i.test(url)) return fromDataUrl(url, path);
  const shown = url.length > 200 ? `${url.slice(0, 200)}…` : url;
  let response: Response;
  try {
    response = await fetch(url, { ...(signal && { signal }) });
    if (response.ok) return await readBody(response, path);
  } catch (cause) {
    if (cause instanceof MlcwebError) throw cause;
    if (signal?.aborted) throw new CancelledError("Cancelled.", signal.reason);
    throw new NetworkError(
      `${path}: ${shown} cannot be fetched: ${(cause as Error).message}`,
      "Look whether its host is there and sends CORS headers, Access-Control-Allow-Origin, for this page: without " +
        "them no page may read it. The page's own connect-src must allow it too.",
      { cause },
    );
  }
  const message = `${path}: ${shown} cannot be fetched: its host answers ${response.status}.`;
  if (response.status >= 500 || response.status === 429) throw new NetworkError(message, "Try again later.");
  throw new InvalidRequestError(path, message.slice(path.length + 2), "Look whether the URL is right.");
}

async function readBody(response: Response, path: string): Promise<Blob> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for (const reader = response.body?.getReader(); reader; ) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > MOST_BYTES) {
      reader.cancel().catch(() => {}); // the rest is not fetched
      checkBytes(length, path);
    }
    pieces.push(value);
  }
  return new Blob(pieces, { type: response.headers.get("Content-Type") ?? "" });
}

/** Throws InvalidRequestError for a file that is too large. */
export function checkBytes(bytes: number, path: string): void {
  if (bytes > MOST_BYTES)
    throw new InvalidRequestError(
      path,
      `has more than ${MOST_BYTES / 2 ** 20} MiB, and is not read.`,
      "Give a smaller picture.",
    );
}

function fromDataUrl(url: string, path: string): Blob {
  const comma = url.indexOf(",");
  const [type = "", ...parameters] = url.slice("data:".length, Math.max(0, comma)).split(";");
  try {
    if (comma < 0) throw new Error("it has no comma.");
    const plain = unescaped(url.slice(comma + 1));
    const binary = parameters.some((one) => one.trim().toLowerCase() === "base64");
    return new Blob([Uint8Array.from(binary ? atob(plain) : plain, (c) => c.charCodeAt(0))], { type });
  } catch (error) {
    throw new InvalidRequestError(
      path,
      `is no data URL: ${(error as Error).message}`,
      "It must be data:, a type such as image/png, ;base64, and the bytes in base64.",
    );
  }
}

/** A character for each byte. */
const unescaped = (text: string): string =>
  text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
