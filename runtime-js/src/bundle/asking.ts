// Asks for the manifest: whether the server has answered, how it has refused, and what it or the cache gave.
import { BundleError } from "../errors.js";
import { brokeOff } from "./came.js";
import { type Manifest, parseManifest } from "./manifest.js";
import type { Watchdog } from "./retry.js";

export const MANIFEST = "mlcweb.json";
/** A server that has said nothing after this long is not waited for, where all is kept. */
export const SILENT_MS = 3000;

/** Attempts to get the manifest, which end together. */
export class Asking {
  private readonly controller = new AbortController();
  private readonly forward = (): void => this.controller.abort(this.outer?.reason);
  private status = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly outer: AbortSignal | undefined) {
    if (outer?.aborted) this.forward();
    outer?.addEventListener("abort", this.forward, { once: true });
  }
  get signal(): AbortSignal {
    return this.controller.signal;
  }
  answered(status: number): void {
    this.status = status;
    if (status < 400) clearTimeout(this.timer);
  }
  /** Whether the last answer was an error. */
  get refused(): boolean {
    return this.status >= 400;
  }
  /** Resolves when so much time has passed without an answer. */
  silent(ms: number): Promise<"silent"> {
    return new Promise((resolve) => {
      this.timer = setTimeout(() => resolve("silent"), ms);
    });
  }
  stop(): void {
    this.controller.abort();
  }
  end(): void {
    clearTimeout(this.timer);
    this.outer?.removeEventListener("abort", this.forward);
  }
}

/** The manifest of the last visit; undefined where there is none, or the copy is damaged. */
export async function readKept(cached: Response | undefined): Promise<Manifest | undefined> {
  try {
    return cached && parseManifest(await cached.text());
  } catch {
    return undefined;
  }
}

/** A body of at most so many bytes. Throws BundleError for a longer one, with the file's name. */
export async function readWhole(
  response: Response,
  watch: Watchdog,
  file: string,
  most: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (const reader = response.body?.getReader(); reader; ) {
    watch.alive();
    const { done, value } = await reader.read().catch((cause: unknown) => {
      throw watch.signal.aborted ? cause : brokeOff(file, `${size}`, cause);
    });
    if (done) break;
    parts.push(value as Uint8Array<ArrayBuffer>);
    size += value.length;
    if (size > most) {
      reader.cancel().catch(() => {});
      throw new BundleError(`${file} is unreasonably large.`);
    }
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
