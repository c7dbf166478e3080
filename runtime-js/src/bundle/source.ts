// Gives a bundle's files by name, from what is kept or the network.

import type { Carrier } from "../carriers/index.js";
import { MAX_MANIFEST_BYTES } from "../contract/index.js";
import { BundleError, NetworkError, WebPageError } from "../errors.js";
import { Asking, MANIFEST, readKept, readWhole, SILENT_MS } from "./asking.js";
import { foreign } from "./came.js";
import type { FetchLike } from "./download.js";
import { digest } from "./files.js";
import { type Manifest, parseManifest } from "./manifest.js";
import { pagesFetch, Reading } from "./reading.js";
import { checkStatus, retrying, Watchdog } from "./retry.js";
import { type Kept, keyOf, Store } from "./store.js";
import { resolveBundleUrl } from "./url.js";

export interface Warning {
  readonly code:
    | "storage-full"
    | "storage-small"
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
  /** Which kept weights are hashed: all, or those that were not when they were written. */
  readonly verify?: "always" | "first" | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onWarning?: ((warning: Warning) => void) | undefined;
  readonly onBytes?: ((bytes: number) => void) | undefined;
  /** Whether the manifest replaces the kept one, whose files may still be there; true by default. */
  readonly keepManifest?: boolean | undefined;
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
    return this.options.fetch ?? pagesFetch;
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
    if (this.options.keepManifest !== false) await this.store.put(key, bytes);
    return manifest;
  }

  /** Whether a load of some tier needs no network. */
  private async keepsAll(manifest: Manifest | undefined): Promise<boolean> {
    if (!manifest) return false;
    const { chunks, wasm, tokenizer, tiers } = manifest;
    const keeps = async (names: readonly string[]): Promise<boolean> => {
      for (const name of names) {
        const file = this.kept(manifest, name);
        if (!(await this.store.get(keyOf(file))) && !(await this.store.find(file))) return false;
      }
      return true;
    };
    if (!(await keeps([wasm, tokenizer.tokenizer, tokenizer.config, ...chunks]))) return false;
    for (const { plan, kernels } of tiers) if (await keeps([plan, kernels])) return true;
    return false;
  }

  private kept(manifest: Manifest, name: string): Kept {
    return { base: this.base, name, ...manifest.files.get(name)! };
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
    return this.read(manifest, name, new Uint8Array(manifest.files.get(name)!.bytes));
  }

  /** Starts at most so many carriers for `read`, which are the caller's to end. None where there may be none. */
  async startCarriers(most: number): Promise<Carrier[]> {
    if (typeof Worker === "undefined") return [];
    try {
      if (this.store.reads) await navigator.storage.getDirectory();
      return await (await import("../carriers/index.js")).startCarriers(most);
    } catch {
      return [];
    }
  }

  /** Fills `target`, exactly as long as the file, with verified bytes. A carrier takes its memory away, all of it, and
   * brings back what is returned. */
  read(
    manifest: Manifest,
    name: string,
    target: Uint8Array<ArrayBuffer>,
    carrier?: Carrier,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const trust = this.options.verify === "first" && manifest.chunks.includes(name);
    const options = { ...this.options, query: this.query, trust };
    return new Reading(this.kept(manifest, name), target, this.store, options, carrier).run();
  }
}
