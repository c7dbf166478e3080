// Says what came in place of a file, and what is wrong with the host. The hints are for who runs it.
import { IntegrityError, type MlcwebError, NetworkError, WebPageError } from "../errors.js";

type Answer = Pick<Response, "headers"> | undefined;

/** Whether a wrong answer is a web page: a captive portal's, or the one that a server gives for every path. */
export function isWebPage(response: Answer, start: Uint8Array): boolean {
  return (
    /\bx?html\b/i.test(response?.headers.get("Content-Type") ?? "") ||
    /^\s*<[!?a-z]/i.test(new TextDecoder().decode(start.subarray(0, 64)))
  );
}

/** The error for bytes that begin as no file of the bundle does: a web page, or what is still compressed. */
export function foreign(file: string, response: Answer, start: Uint8Array): MlcwebError | undefined {
  if (isWebPage(response, start)) return new WebPageError(file, described(response, start));
  const [a, b, c] = start;
  const kind = a === 0x1f && b === 0x8b && c === 8 ? "gzip" : a === 0x28 && b === 0xb5 && c === 0x2f ? "zstd" : "";
  if (!kind) return undefined;
  return new IntegrityError(
    file,
    `${file} came compressed: it is still ${kind} after the browser has undone the answer's Content-Encoding.`,
    `The host compresses it twice, or does not say Content-Encoding: ${kind}. Let one place compress and say so, or ` +
      "none.",
  );
}

/** The error for a file of another length than the manifest lists; `received` may be only a part of a longer one. */
export function otherLength(
  file: string,
  response: Answer,
  start: Uint8Array,
  received: number,
  bytes: number,
): MlcwebError {
  const how = received < bytes ? `ends after ${received} of` : `is longer than`;
  const came = received < bytes ? "" : ` (${described(response, start)})`;
  return (
    foreign(file, response, start) ??
    new IntegrityError(
      file,
      `${file} ${how} the ${bytes} bytes that the manifest lists${came}.`,
      "The copy on the host, or on a CDN before it, is cut off, changed, or another build's: publish again, and " +
        "purge the CDN.",
    )
  );
}

/** The error for a body that ended before its end. */
export const brokeOff = (file: string, received: string, cause?: unknown): NetworkError =>
  new NetworkError(
    `${file}: the connection broke after ${received} bytes.`,
    "Check the connection and try again; what was downloaded is kept. If it always breaks there, the host sends less " +
      "than its Content-Length says, or not the Content-Encoding that it states: `mlcweb check-host` tells.",
    { cause },
  );

/** Such as `text/plain, beginning "Not found"`; bytes that are no text are shown as such. */
function described(response: Answer, start: Uint8Array): string {
  const text = new TextDecoder().decode(start.subarray(0, 40), { stream: true }).trim();
  const hex = (): string => Array.from(start.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const begins = /(?!\s)\p{Cc}|\ufffd/u.test(text) ? hex() : JSON.stringify(text);
  return `${response?.headers.get("Content-Type") ?? "no content type"}, beginning ${begins}`;
}
