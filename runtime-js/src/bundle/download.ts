// Downloads one file of known size into a buffer: resumes with Range after a dropped connection, retries with
// backoff a bounded number of times, and gives up on a connection that stalls.
import { BundleError, CancelledError, IntegrityError, MlcwebError, NetworkError, throwIfAborted } from "../errors.js";

export type FetchLike = (url: string, init: RequestInit) => Promise<Response>;

export interface DownloadOptions {
  readonly fetch: FetchLike;
  readonly signal?: AbortSignal | undefined;
  /** Consecutive attempts that bring no byte, before giving up. */
  readonly attempts?: number;
  readonly backoffMs?: number;
  readonly stallMs?: number;
  readonly cacheMode?: RequestCache;
  /** Called with the number of new bytes; negative when a server without Range makes a resumption start over. */
  readonly onBytes?: (bytes: number) => void;
}

/** Fills `target` (exactly the file's size) from the URL. */
export async function download(url: string, target: Uint8Array, options: DownloadOptions): Promise<void> {
  const { attempts = 5, backoffMs = 400 } = options;
  const at: Cursor = { filled: 0 };
  for (let failures = 0; ; ) {
    throwIfAborted(options.signal);
    const before = at.filled;
    try {
      await attempt(url, target, at, options);
      return;
    } catch (error) {
      if (error instanceof MlcwebError && !(error instanceof NetworkError)) throw error;
      if (options.signal?.aborted) throw new CancelledError("The download was cancelled.", options.signal.reason);
      failures = at.filled > before ? 1 : failures + 1;
      if (failures >= attempts) {
        if (error instanceof NetworkError) throw error;
        const why = error instanceof Error ? error.message : String(error);
        throw new NetworkError(`${fileOf(url)} could not be downloaded: ${why}.`, undefined, { cause: error });
      }
      await pause(backoffMs * 2 ** (failures - 1), options.signal);
    }
  }
}

/** `whole`: this server's partial answers do not say where they start, so that only whole ones can be used. */
interface Cursor { filled: number; whole?: boolean }

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
    checkStatus(url, response);
    if (at.filled > 0 && rangeStart(response) !== at.filled) {
      if (response.status === 206) {
        // Across origins Content-Range is hidden unless the server exposes it: then nothing says what these bytes are.
        at.whole = true;
        response.body?.cancel().catch(() => {});
        throw new NetworkError(`${fileOf(url)}: the server answered a part of the file without saying which, or another than it was asked for.`);
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
        if (at.filled + value.length > target.length) throw tooLong(url, target.length);
        target.set(value, at.filled);
        at.filled += value.length;
        options.onBytes?.(value.length);
      }
    } catch (error) {
      reader.cancel().catch(() => {});
      throw error;
    }
    if (at.filled < target.length) throw new NetworkError(`${fileOf(url)}: the connection closed after ${at.filled} of ${target.length} bytes.`);
  } finally {
    watch.stop();
  }
}

function checkStatus(url: string, response: Response): void {
  if (response.ok) return;
  const { status } = response;
  response.body?.cancel().catch(() => {});
  if (status === 404 || status === 403 || status === 410) {
    throw new BundleError(`${fileOf(url)} is missing: the server answered ${status}.`, "Check the bundle's URL, and that every file of the bundle was published.");
  }
  if (status >= 400 && status < 500 && status !== 408 && status !== 416 && status !== 429) {
    throw new BundleError(`${fileOf(url)}: the server answered ${status}.`, "Check the bundle's URL and the server's access rules.");
  }
  throw new NetworkError(`${fileOf(url)}: the server answered ${status}.`);
}

/** Where a 206 answer starts; -1 for a whole answer. */
function rangeStart(response: Response): number {
  if (response.status !== 206) return -1;
  const match = /^bytes (\d+)-/.exec(response.headers.get("Content-Range") ?? "");
  return match ? Number(match[1]) : -1;
}

/** A server that has no bytes from there on. */
const tooShort = (url: string, found: number, bytes: number): IntegrityError =>
  new IntegrityError(fileOf(url), `${fileOf(url)} ends after ${found} of the ${bytes} bytes that the manifest lists.`);

const tooLong = (url: string, bytes: number): IntegrityError =>
  new IntegrityError(fileOf(url), `${fileOf(url)} is longer than the ${bytes} bytes that the manifest lists.`);

export const fileOf = (url: string): string => url.slice(url.lastIndexOf("/") + 1).replace(/[?#].*$/, "") || url;

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => { clearTimeout(timer); reject(new CancelledError("The download was cancelled.", signal?.reason)); };
    const timer = setTimeout(() => { signal?.removeEventListener("abort", stop); resolve(); }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** An abort signal that fires with the caller's, and when nothing has been heard for `ms`. */
class Watchdog {
  private readonly controller = new AbortController();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly forward = (): void => this.controller.abort(this.outer?.reason);
  constructor(private readonly ms: number, private readonly outer: AbortSignal | undefined) {
    outer?.addEventListener("abort", this.forward, { once: true });
    this.alive();
  }
  get signal(): AbortSignal { return this.controller.signal; }
  alive(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.controller.abort(new Error("the connection stalled")), this.ms);
  }
  stop(): void {
    clearTimeout(this.timer);
    this.outer?.removeEventListener("abort", this.forward);
  }
}
