// A bundle's files by name: from the cache or the network, and never unverified.
import { BundleError, CancelledError, IntegrityError, NetworkError, throwIfAborted } from "../errors.js";
import { download, type FetchLike } from "./download.js";
import { parseManifest, type Manifest } from "./manifest.js";
import { Store } from "./store.js";

const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;

export interface Warning { readonly code: "storage-full" | "cache-corrupt" | "offline" | "matrix-refused"; readonly message: string }

export interface SourceOptions {
  readonly fetch?: FetchLike | undefined;
  readonly cache?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onWarning?: ((warning: Warning) => void) | undefined;
  readonly onBytes?: ((bytes: number) => void) | undefined;
  readonly backoffMs?: number | undefined;
}

/** The bundle's folder as an absolute URL that ends in a slash; accepts the folder's or the manifest's URL. */
export function resolveBundleUrl(url: string): string {
  let absolute: URL;
  try {
    absolute = new URL(url, typeof location === "undefined" ? undefined : location.href);
  } catch (cause) {
    throw new BundleError(`${JSON.stringify(url)} is not a URL.`, "Pass the URL of a bundle's folder.", { cause });
  }
  absolute.hash = "";
  absolute.search = "";
  absolute.pathname = absolute.pathname.replace(/mlcweb\.json$/, "").replace(/\/?$/, "/");
  return absolute.href;
}

export class Source {
  private constructor(readonly base: string, private readonly store: Store, private readonly options: SourceOptions) {}

  static async open(url: string, options: SourceOptions = {}): Promise<Source> {
    const store = await Store.open(options.cache ?? true, (error) => options.onWarning?.({
      code: "storage-full",
      message: `The model is not kept for the next visit: ${error instanceof Error ? error.message : String(error)}`,
    }));
    return new Source(resolveBundleUrl(url), store, options);
  }

  private get fetch(): FetchLike { return this.options.fetch ?? ((url, init) => fetch(url, init)); }

  /** What was kept with the cached bundle under a name. */
  async choice(name: string): Promise<string | undefined> {
    return (await this.store.get(this.choiceKey(name)))?.text();
  }

  async keepChoice(name: string, value: string): Promise<void> {
    await this.store.put(this.choiceKey(name), new TextEncoder().encode(value));
  }

  private choiceKey(name: string): string { return `${this.base}choice/${encodeURIComponent(name)}`; }

  /** The manifest is the one file that may change: network first, the cached copy when there is no network. */
  async manifest(): Promise<Manifest> {
    const url = `${this.base}mlcweb.json`;
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      bytes = await this.fetchManifest(url);
    } catch (error) {
      const kept = error instanceof NetworkError ? await this.store.get(url) : undefined;
      if (!kept) throw error;
      this.options.onWarning?.({ code: "offline", message: "There is no network: using the copy of the last visit." });
      return parseManifest(await kept.text());
    }
    const manifest = parseManifest(new TextDecoder().decode(bytes));
    await this.store.put(url, bytes);
    return manifest;
  }

  private async fetchManifest(url: string): Promise<Uint8Array<ArrayBuffer>> {
    for (let failures = 1; ; failures++) {
      throwIfAborted(this.options.signal);
      let response: Response;
      try {
        const init: RequestInit = { cache: "no-cache" };
        if (this.options.signal) init.signal = this.options.signal;
        response = await this.fetch(url, init);
        if (response.ok) {
          const bytes = new Uint8Array(await response.arrayBuffer());
          if (bytes.length > MAX_MANIFEST_BYTES) throw new BundleError("mlcweb.json is unreasonably large.");
          return bytes;
        }
      } catch (error) {
        if (error instanceof BundleError) throw error;
        if (this.options.signal?.aborted) throw new CancelledError("The load was cancelled.", this.options.signal.reason);
        if (failures >= 3) throw new NetworkError(`${url} could not be fetched.`, undefined, { cause: error });
        await new Promise((resolve) => setTimeout(resolve, (this.options.backoffMs ?? 400) * failures));
        continue;
      }
      if (response.status < 500) throw new BundleError(`There is no bundle at ${this.base}: mlcweb.json answered ${response.status}.`, "Check the bundle's URL.");
      if (failures >= 3) throw new NetworkError(`${url}: the server answered ${response.status}.`);
      await new Promise((resolve) => setTimeout(resolve, (this.options.backoffMs ?? 400) * failures));
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
    const key = `${this.base}${name}?sha256=${entry.sha256}`;
    if (await this.readCached(key, name, target, entry.sha256)) return;
    // What is kept here need not be kept by the browser's HTTP cache too, which costs a third of the speed and evicts
    // other sites. A mismatch may be a stale copy there or in a proxy: ask once more, past them.
    for (const cacheMode of [this.store.keeps ? "no-store" : "default", "reload"] as const) {
      let counted = 0;
      const onBytes = (bytes: number): void => { counted += bytes; this.options.onBytes?.(bytes); };
      await download(this.base + name, target, { fetch: this.fetch, signal: this.options.signal, cacheMode, onBytes, backoffMs: this.options.backoffMs ?? 400 });
      if ((await digest(target)) === entry.sha256) {
        await this.store.put(key, target);
        return;
      }
      onBytes(-counted);
    }
    throw new IntegrityError(name, `${name} is damaged: its sha256 is not the one in the manifest.`);
  }

  private async readCached(key: string, name: string, target: Uint8Array<ArrayBuffer>, sha256: string): Promise<boolean> {
    const kept = await this.store.get(key);
    throwIfAborted(this.options.signal);
    if (!kept) return false;
    if ((await fill(kept, target)) && (await digest(target)) === sha256) {
      this.options.onBytes?.(target.length);
      return true;
    }
    this.options.onWarning?.({ code: "cache-corrupt", message: `The kept copy of ${name} is damaged; it is fetched again.` });
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
