// Decides by a server's answer whether to ask again. It waits for a pause that doubles each time, or for as long as the
// server asks.
import { BundleError, CancelledError, MlcwebError, NetworkError, throwIfAborted, WebPageError } from "../errors.js";

export interface RetryOptions {
  readonly signal?: AbortSignal | undefined;
  /** Consecutive attempts that get no further, before giving up. */
  readonly attempts?: number | undefined;
  readonly backoffMs?: number | undefined;
  /** The longest pause that a server may ask for. A server that asks for more makes the download fail at once. */
  readonly patienceS?: number | undefined;
}

/** Runs `attempt` until it succeeds, or fails for good. `further` says whether the last attempt got further than those
 * before. */
export async function retrying<T>(
  file: string,
  attempt: () => Promise<T>,
  { signal, attempts = 5, backoffMs = 400, patienceS = 30 }: RetryOptions,
  further = () => false,
): Promise<T> {
  for (let failures = 0; ; ) {
    throwIfAborted(signal);
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof MlcwebError && !(error instanceof NetworkError)) throw error;
      if (signal?.aborted) throw new CancelledError("The download was cancelled.", signal.reason);
      failures = further() ? 1 : failures + 1;
      const asked = error instanceof NetworkError ? (error.retryAfter ?? 0) : 0;
      if (failures >= attempts || asked > patienceS) {
        if (error instanceof NetworkError) throw error;
        throw new NetworkError(
          `${file} could not be downloaded: ${error instanceof Error ? error.message : String(error)}.`,
          "Check the connection and try again; what was downloaded is kept. If other sites load, the host may be one " +
            "that no page of another origin may read: it needs Access-Control-Allow-Origin.",
          { cause: error },
        );
      }
      await pause(Math.max(backoffMs * 2 ** (failures - 1), asked * 1000), signal);
    }
  }
}

const PUBLISHED = "Check the bundle's URL, and that every file of the bundle was published.";

/** Throws the typed error for the answer's status, unless it is a success. `hint`: for a file that is missing. */
export function checkStatus(file: string, response: Response, hint = PUBLISHED): void {
  if (response.ok) return;
  const { status } = response;
  response.body?.cancel().catch(() => {});
  if (status === 511) throw new WebPageError(file);
  if (status === 404 || status === 410)
    throw new BundleError(`${file} is missing: the server answered ${status}.`, hint);
  // 408, 425 and 429 mean "not now", and 416 is about a range: none of them says that the file is wrong.
  if (status >= 400 && status < 500 && ![408, 416, 425, 429].includes(status)) {
    throw new BundleError(
      `${file}: the server answered ${status}.`,
      "Check the bundle's URL, that every file was published, and the server's access rules. " +
        "A signature or a token in the URL may have expired.",
    );
  }
  const retryAfter = retryAfterOf(response);
  const wait = retryAfter ? `, and asks to wait ${Math.ceil(retryAfter)} s` : "";
  throw new NetworkError(`${file}: the server answered ${status}${wait}.`, undefined, { retryAfter });
}

/** Seconds of Retry-After, which is a number or a date (RFC 9110, 10.2.3), by the server's clock where it tells. */
function retryAfterOf({ headers }: Response): number | undefined {
  const value = headers.get("Retry-After")?.trim() ?? "";
  if (/^\d{1,9}$/.test(value)) return Number(value);
  const now = Date.parse(headers.get("Date") ?? "");
  const seconds = (Date.parse(value) - (Number.isNaN(now) ? Date.now() : now)) / 1000;
  return seconds > 0 ? seconds : undefined;
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(new CancelledError("The download was cancelled.", signal?.reason));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** An abort signal that fires with the caller's, and when nothing has been heard for `ms`. */
export class Watchdog {
  private readonly controller = new AbortController();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly forward = (): void => this.controller.abort(this.outer?.reason);
  constructor(
    private readonly ms: number,
    private readonly outer: AbortSignal | undefined,
  ) {
    outer?.addEventListener("abort", this.forward, { once: true });
    this.alive();
  }
  get signal(): AbortSignal {
    return this.controller.signal;
  }
  alive(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.controller.abort(new Error("the connection stalled")), this.ms);
  }
  stop(): void {
    clearTimeout(this.timer);
    this.outer?.removeEventListener("abort", this.forward);
  }
}
