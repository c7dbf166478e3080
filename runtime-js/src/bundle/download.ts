// Downloads one file of known size into a buffer. It resumes with Range after a dropped connection, retries with
// backoff a bounded number of times, and gives up on a connection that stalls.
import { IntegrityError, NetworkError, WebPageError } from "../errors.js";
import { checkStatus, isWebPage, type RetryOptions, retrying, Watchdog } from "./retry.js";

export type FetchLike = (url: string, init: RequestInit) => Promise<Response>;

export interface DownloadOptions extends RetryOptions {
  readonly fetch: FetchLike;
  readonly stallMs?: number;
  readonly cacheMode?: RequestCache;
  /** Called with the number of new bytes; negative when a server without Range makes a resumption start over. */
  readonly onBytes?: (bytes: number) => void;
}

/** Fills `target` (exactly the file's size) from the URL. */
export async function download(url: string, target: Uint8Array, options: DownloadOptions): Promise<void> {
  const at: Cursor = { filled: 0 };
  let before = 0;
  await retrying(
    fileOf(url),
    () => {
      before = at.filled;
      return attempt(url, target, at, options);
    },
    options,
    () => at.filled > before,
  );
}

/** `whole`: this server's partial answers do not say where they start, so that only whole ones can be used. */
interface Cursor {
  filled: number;
  whole?: boolean;
}

async function attempt(url: string, target: Uint8Array, at: Cursor, options: DownloadOptions): Promise<void> {
  const watch = new Watchdog(options.stallMs ?? 30_000, options.signal);
  try {
    const startOver = (): void => {
      options.onBytes?.(-at.filled);
      at.filled = 0;
    };
    if (at.whole && at.filled > 0) startOver();
    const headers: Record<string, string> = at.filled > 0 ? { Range: `bytes=${at.filled}-` } : {};
    const init: RequestInit = { headers, signal: watch.signal };
    if (options.cacheMode) init.cache = options.cacheMode;
    const response = await options.fetch(url, init);
    watch.alive();
    if (response.status === 416 && at.filled > 0) throw tooShort(url, at.filled, target.length);
    checkStatus(fileOf(url), response);
    if (at.filled > 0 && rangeStart(response) !== at.filled) {
      if (response.status === 206) {
        // Across origins Content-Range is hidden unless the server exposes it: then nothing says what these bytes are.
        at.whole = true;
        response.body?.cancel().catch(() => {});
        throw new NetworkError(
          `${fileOf(url)}: the server sent a part of the file that was not asked for, or did not say which part it is.`,
        );
      }
      startOver();
    }
    if (!response.body) throw new NetworkError(`${fileOf(url)}: the answer has no body.`);
    const reader = response.body.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        watch.alive();
        if (done) break;
        if (at.filled + value.length > target.length)
          throw isWebPage(response, at.filled ? target : value)
            ? new WebPageError(fileOf(url))
            : tooLong(url, target.length);
        target.set(value, at.filled);
        at.filled += value.length;
        options.onBytes?.(value.length);
      }
    } catch (error) {
      reader.cancel().catch(() => {});
      throw error;
    }
    if (at.filled < target.length && isWebPage(response, target.subarray(0, at.filled)))
      throw new WebPageError(fileOf(url));
    if (at.filled < target.length)
      throw new NetworkError(`${fileOf(url)}: the connection closed after ${at.filled} of ${target.length} bytes.`);
  } finally {
    watch.stop();
  }
}

/** Where a 206 answer starts; -1 for a whole answer. */
function rangeStart(response: Response): number {
  if (response.status !== 206) return -1;
  const match = /^bytes (\d+)-/.exec(response.headers.get("Content-Range") ?? "");
  return match ? Number(match[1]) : -1;
}

/** A server that has no bytes from there on. */
const tooShort = (url: string, received: number, bytes: number): IntegrityError =>
  new IntegrityError(
    fileOf(url),
    `${fileOf(url)} ends after ${received} of the ${bytes} bytes that the manifest lists.`,
  );

const tooLong = (url: string, bytes: number): IntegrityError =>
  new IntegrityError(fileOf(url), `${fileOf(url)} is longer than the ${bytes} bytes that the manifest lists.`);

const fileOf = (url: string): string => /([^/]*)$/.exec(url.replace(/[?#].*$/, ""))![1] || url;
