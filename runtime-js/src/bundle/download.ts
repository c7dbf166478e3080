// Downloads one file of known size into a buffer. It resumes with Range after a dropped connection, retries with
// backoff a bounded number of times, and gives up on a connection that stalls.
import { NetworkError } from "../errors.js";
import { brokeOff, foreign, otherLength } from "./came.js";
import { checkStatus, type RetryOptions, retrying, Watchdog } from "./retry.js";

export type FetchLike = (url: string, init: RequestInit) => Promise<Response>;

export interface DownloadOptions extends RetryOptions {
  readonly fetch: FetchLike;
  readonly stallMs?: number;
  readonly cacheMode?: RequestCache;
  /** Called with the number of new bytes; negative when a server without Range makes a resumption start over. */
  readonly onBytes?: (bytes: number) => void;
  /** Bytes that are there already. */
  readonly filled?: number;
}

/** Fills `target` (exactly the file's size) from the URL. */
export async function download(url: string, target: Uint8Array, options: DownloadOptions): Promise<void> {
  const at: Cursor = { filled: options.filled ?? 0 };
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

const LISTED =
  "mlcweb.json lists it. Either not every file was published, or a CDN keeps an old mlcweb.json: let it ask for that " +
  "file each time (Cache-Control: no-cache), and purge it.";

async function attempt(url: string, target: Uint8Array, at: Cursor, options: DownloadOptions): Promise<void> {
  const file = fileOf(url);
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
    // a server that has no bytes from there on
    if (response.status === 416 && at.filled > 0)
      throw otherLength(file, undefined, target.subarray(0, at.filled), at.filled, target.length);
    checkStatus(file, response, LISTED);
    if (at.filled > 0 && rangeStart(response) !== at.filled) {
      if (response.status === 206) {
        // Across origins Content-Range is hidden unless the server exposes it: then nothing says what these bytes are.
        at.whole = true;
        response.body?.cancel().catch(() => {});
        throw new NetworkError(
          `${file}: the server sent a part of the file that was not asked for, or did not say which part it is.`,
        );
      }
      startOver();
    }
    await fill(file, response, target, at, watch, options.onBytes);
  } finally {
    watch.stop();
  }
}

/** Reads the answer into `target`, from the cursor on. Throws for one of another length. */
async function fill(
  file: string,
  response: Response,
  target: Uint8Array,
  at: Cursor,
  watch: Watchdog,
  onBytes: DownloadOptions["onBytes"],
): Promise<void> {
  if (!response.body) throw new NetworkError(`${file}: the answer has no body.`);
  const reader = response.body.getReader();
  const bytes = target.length;
  const received = (): string => `${at.filled} of ${bytes}`;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        throw watch.signal.aborted ? cause : brokeOff(file, received(), cause);
      });
      watch.alive();
      if (done) break;
      const end = at.filled + value.length;
      if (end > bytes) throw otherLength(file, response, at.filled ? target : value, end, bytes);
      target.set(value, at.filled);
      at.filled = end;
      onBytes?.(value.length);
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  }
  if (at.filled === bytes) return;
  const start = target.subarray(0, at.filled);
  // A whole answer that has the length that it states, and still is too short, is not the connection's fault.
  const stated = response.status === 200 && response.headers.get("Content-Length") === `${at.filled}`;
  throw stated
    ? otherLength(file, response, start, at.filled, bytes)
    : (foreign(file, response, start) ?? brokeOff(file, received()));
}

/** Where a 206 answer starts; -1 for a whole answer. */
function rangeStart(response: Response): number {
  if (response.status !== 206) return -1;
  const match = /^bytes (\d+)-/.exec(response.headers.get("Content-Range") ?? "");
  return match ? Number(match[1]) : -1;
}

const fileOf = (url: string): string => /([^/]*)$/.exec(url.replace(/[?#].*$/, ""))![1] || url;
