// Gives a bundle's files by name, from the cache or the network, and never unverified.

import { MAX_MANIFEST_BYTES } from "../contract/index.js";
import {
  BundleError,
  IntegrityError,
  type MlcwebError,
  NetworkError,
  throwIfAborted,
  WebPageError,
} from "../errors.js";
import { Asking, MANIFEST, readKept, readWhole, SILENT_MS } from "./asking.js";
import { foreign } from "./came.js";
import { download, type FetchLike } from "./download.js";
import { type Manifest, parseManifest } from "./manifest.js";
import { checkStatus, retrying, Watchdog } from "./retry.js";
import { Store } from "./store.js";
import { resolveBundleUrl } from "./url.js";

export interface Warning {
  readonly code:
    | "storage-full"
    | "cache-corrupt"
    | "offline"
    | "stale"
    | "matrix-refused"
    | "wrong-results"
    | "recovered";
  readonly message: string;
}

export interface SourceOptions {
  readonly fetch?: FetchLike | undefined;
  readonly cache?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onWarning?: ((warning: Warning) => void) | undefined;
  readonly onBytes?: ((bytes: number) => void) | undefined;
  readonly backoffMs?: number | undefined;
}

export class Source {
  private constructor(
    readonly base: string,
    private readonly query: string,
    private readonly expected: string | undefined,
    private readonly store: Store,
    private readonly options: SourceOptions,
  ) {}

  static async open(url: string, options: SourceOptions = {}): Promise<Source> {
    const { base, query, sha256 } = resolveBundleUrl(url);
    const store = await Store.open(options.cache ?? true, (error) =>
      options.onWarning?.({
        code: "storage-full",
        message: `The model is not kept for the next visit: ${error instanceof Error ? error.message : String(error)}`,
      }),
    );
    return new Source(base, query, sha256, store, options);
  }

  private get fetch(): FetchLike {
    return this.options.fetch ?? ((url, init) => fetch(url, init));
  }

  /** What was kept with the cached bundle under a name. */
  async choice(name: string): Promise<string | undefined> {
    return (await this.store.get(this.choiceKey(name)))?.text();
  }

  async keepChoice(name: string, value: string): Promise<void> {
    await this.store.put(this.choiceKey(name), new TextEncoder().encode(value));
  }

  private choiceKey(name: string): string {
    return `${this.base}choice/${encodeURIComponent(name)}`;
  }

  /** Reads the manifest, the one file that may change. The network comes first. The kept copy is used when the network
   * or the server is not there; where there is a copy, that is decided sooner. Where a load needs nothing else either,
   * a server that says that there is no bundle, or says nothing for a while, keeps nobody from a model that is here. */
  async manifest(): Promise<Manifest> {
    const key = `${this.base}${MANIFEST}`;
    const cached = await this.store.get(key);
    let read: Promise<Manifest | undefined> | undefined; // when it is needed: it may be long
    const kept = (): Promise<Manifest | undefined> => (read ??= readKept(cached));
    const { signal, backoffMs } = this.options;
    const asking = new Asking(signal);
    const work = retrying(MANIFEST, () => this.fetchManifest(cached ? 10_000 : 30_000, asking), {
      signal: asking.signal,
      backoffMs,
      attempts: 3,
      ...(cached && { patienceS: 2 }),
    });
    const fallBack = async (why: string): Promise<Manifest> => {
      this.options.onWarning?.({ code: "offline", message: `${why} The copy of the last visit is used.` });
      return (await kept())!;
    };
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      const first = cached ? await Promise.race([work, asking.silent(SILENT_MS)]) : await work;
      if (first === "silent") {
        if (await this.keepsAll(await kept())) {
          asking.stop();
          work.catch(() => {});
          return await fallBack(`${MANIFEST} did not come within ${SILENT_MS / 1000} s.`);
        }
        bytes = await work;
      } else bytes = first;
    } catch (error) {
      const refused = error instanceof BundleError && asking.refused;
      const away = error instanceof NetworkError || error instanceof WebPageError;
      if (!(away ? await kept() : refused && (await this.keepsAll(await kept())))) throw error;
      return await fallBack((error as Error).message);
    } finally {
      asking.end();
    }
    const manifest = parseManifest(new TextDecoder().decode(bytes));
    if (this.expected && (await digest(bytes)) !== this.expected)
      this.options.onWarning?.({
        code: "stale",
        message:
          `The catalog lists another ${MANIFEST} than ${this.base} has: the host, or a CDN before it, keeps an old ` +
          "copy of one of them. Let it ask for both each time (Cache-Control: no-cache).",
      });
    await this.store.put(key, bytes);
    return manifest;
  }

  /** Whether a load of some tier needs no network. */
  private async keepsAll(manifest: Manifest | undefined): Promise<boolean> {
    if (!manifest) return false;
    const { files, chunks, wasm, tokenizer, tiers } = manifest;
    const keeps = async (names: readonly string[]): Promise<boolean> => {
      for (const name of names) if (!(await this.store.get(this.fileKey(name, files.get(name)!.sha256)))) return false;
      return true;
    };
    if (!(await keeps([wasm, tokenizer.tokenizer, tokenizer.config, ...chunks]))) return false;
    for (const { plan, kernels } of tiers) if (await keeps([plan, kernels])) return true;
    return false;
  }

  private fileKey(name: string, sha256: string): string {
    return `${this.base}${name}?sha256=${sha256}`;
  }

  private async fetchManifest(stallMs: number, asking: Asking): Promise<Uint8Array<ArrayBuffer>> {
    const watch = new Watchdog(stallMs, asking.signal);
    try {
      const response = await this.fetch(this.base + MANIFEST + this.query, { cache: "no-cache", signal: watch.signal });
      const { status } = response;
      asking.answered(status);
      if (status === 404 || status === 410)
        throw new BundleError(
          `There is no bundle at ${this.base}: ${MANIFEST} answered ${status}.`,
          "Check the bundle's URL.",
        );
      checkStatus(MANIFEST, response);
      const bytes = await readWhole(response, watch, MANIFEST, MAX_MANIFEST_BYTES);
      // JSON begins with a brace, whatever type the server gives it.
      const json = /^\s*\{/.test(new TextDecoder().decode(bytes.subarray(0, 64)));
      const wrong = json ? undefined : foreign(MANIFEST, response, bytes);
      if (wrong) throw wrong;
      return bytes;
    } finally {
      watch.stop();
    }
  }

  /** A small file, whole. */
  async file(manifest: Manifest, name: string): Promise<Uint8Array<ArrayBuffer>> {
    const target = new Uint8Array(manifest.files.get(name)!.bytes);
    await this.read(manifest, name, target);
    return target;
  }

  /** Fills `target`, exactly as long as the file, with verified bytes. */
  async read(manifest: Manifest, name: string, target: Uint8Array<ArrayBuffer>): Promise<void> {
    const entry = manifest.files.get(name)!;
    const key = this.fileKey(name, entry.sha256);
    if (await this.readCached(key, name, target, entry.sha256)) return;
    // Files that are kept here skip the browser's HTTP cache: it would cost a third of the speed and evict other sites.
    // Wrong bytes may come from a stale copy in that cache or in a proxy, so the second attempt goes past them.
    let wrong: MlcwebError | undefined;
    for (const cacheMode of [this.store.keeps ? "no-store" : "default", "reload"] as const) {
      let counted = 0;
      const onBytes = (bytes: number): void => {
        counted += bytes;
        this.options.onBytes?.(bytes);
      };
      const { signal, backoffMs } = this.options;
      const url = this.base + name;
      try {
        await download(url + this.query, target, { fetch: this.fetch, signal, cacheMode, onBytes, backoffMs });
        const actual = await digest(target);
        if (actual === entry.sha256) {
          await this.store.put(key, target);
          return;
        }
        const hashes = { url, expected: entry.sha256, actual };
        const damaged = `${name} is damaged: its sha256 is not the one in the manifest.`;
        wrong = foreign(name, undefined, target) ?? new IntegrityError(name, damaged, undefined, hashes);
      } catch (error) {
        if (!(error instanceof WebPageError || error instanceof IntegrityError)) throw error;
        wrong = error;
      }
      onBytes(-counted);
    }
    throw wrong;
  }

  private async readCached(
    key: string,
    name: string,
    target: Uint8Array<ArrayBuffer>,
    sha256: string,
  ): Promise<boolean> {
    const cached = await this.store.get(key);
    throwIfAborted(this.options.signal);
    if (!cached) return false;
    if ((await fill(cached, target)) && (await digest(target)) === sha256) {
      this.options.onBytes?.(target.length);
      return true;
    }
    this.options.onWarning?.({
      code: "cache-corrupt",
      message: `The kept copy of ${name} is damaged; it is fetched again.`,
    });
    await this.store.delete(key);
    return false;
  }
}

/** Streams a response into `target`; false when it is not exactly that long. */
async function fill(response: Response, target: Uint8Array): Promise<boolean> {
  let filled = 0;
  try {
    const reader = response.body?.getReader();
    if (!reader) return target.length === 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return filled === target.length;
      if (filled + value.length > target.length) {
        reader.cancel().catch(() => {});
        return false;
      }
      target.set(value, filled);
      filled += value.length;
    }
  } catch {
    return false;
  }
}

async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  // One native digest over a chunk of at most 24 MiB is far faster than hashing a stream in JavaScript, and as bounded.
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (b) => b.toString(16).padStart(2, "0")).join("");
}
