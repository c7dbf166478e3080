// Brings one file into memory, from what is kept or from the network, verifies it and keeps it: on this thread, or by a
// carrier.
import type { Carrier } from "../carriers/index.js";
import { IntegrityError, type MlcwebError, throwIfAborted, WebPageError } from "../errors.js";
import { foreign } from "./came.js";
import { download, type FetchLike } from "./download.js";
import { digest } from "./files.js";
import { alone } from "./locks.js";
import type { SourceOptions } from "./source.js";
import { type Kept, keyOf, type Store } from "./store.js";

export const pagesFetch: FetchLike = (url, init) => fetch(url, init);

export interface ReadingOptions extends SourceOptions {
  readonly query: string;
  /** Take what is kept as it is, where it was verified when it was written. */
  readonly trust: boolean;
}

/** One file on its way. Its carrier may give the target other memory, and leave. */
export class Reading {
  private readonly url: string;

  constructor(
    readonly file: Kept,
    public target: Uint8Array<ArrayBuffer>,
    readonly store: Store,
    readonly options: ReadingOptions,
    public carrier: Carrier | undefined,
  ) {
    this.url = file.base + file.name;
  }

  /** The verified bytes. */
  async run(): Promise<Uint8Array<ArrayBuffer>> {
    if (await this.findKept()) return this.target;
    if (!this.store.keeps) await this.fetch();
    else
      await alone(`mlcweb: ${keyOf(this.file)}`, this.options.signal, async () => {
        // Another tab may have had the lock, to do the same.
        if (!(await this.findKept())) await this.fetch();
      });
    return this.target;
  }

  private async findKept(): Promise<boolean> {
    const { file, store, options } = this;
    let kept = (await this.carrier?.work(this, { kind: "read" }))?.kept;
    if (kept === undefined || kept === "missing") {
      const cached = await store.get(keyOf(file));
      const found = cached ?? (this.carrier ? undefined : await store.find(file));
      throwIfAborted(options.signal);
      if (!found) return false;
      const came = await fill(found, this.target);
      // The Cache API has whole files, which were verified. A carrier keeps them where it reads faster.
      const trusted = cached && options.trust && !this.carrier;
      const right = came && (trusted || (await this.hash(false)) === file.sha256);
      kept = right ? "here" : "damaged";
    }
    if (kept === "here") options.onBytes?.(file.bytes);
    else {
      options.onWarning?.({
        code: "cache-corrupt",
        message: `The kept copy of ${file.name} is damaged; it is fetched again.`,
      });
      await store.forget(file);
    }
    return kept === "here";
  }

  private async fetch(): Promise<void> {
    const { file, store, url } = this;
    const { signal, backoffMs, query, fetch = pagesFetch } = this.options;
    // Files that are kept here skip the browser's HTTP cache: it would cost a third of the speed and evict other sites.
    // Wrong bytes may come from a stale copy in that cache or in a proxy, so the second attempt goes past them.
    let wrong: MlcwebError | undefined;
    for (const cacheMode of [store.keeps ? "no-store" : "default", "reload"] as const) {
      let counted = 0;
      const onBytes = (bytes: number): void => {
        counted += bytes;
        this.options.onBytes?.(bytes);
      };
      try {
        const task = { kind: "take", url: url + query, cache: cacheMode } as const;
        // A carrier says nothing of what goes wrong: `download` goes on from there.
        let { filled = 0, actual } = (await this.carrier?.work(this, task, onBytes)) ?? {};
        onBytes(filled - counted);
        if (filled < file.bytes)
          await download(url + query, this.target, { fetch, signal, cacheMode, onBytes, backoffMs, filled });
        actual ??= await this.hash(true);
        if (actual === file.sha256) return;
        const hashes = { url, expected: file.sha256, actual };
        const damaged = `${file.name} is damaged: its sha256 is not the one in the manifest.`;
        wrong = foreign(file.name, undefined, this.target) ?? new IntegrityError(file.name, damaged, undefined, hashes);
      } catch (error) {
        if (!(error instanceof WebPageError || error instanceof IntegrityError)) throw error;
        wrong = error;
      }
      onBytes(-counted);
    }
    throw wrong;
  }

  /** The sha256 of the target. What is right is kept: by a carrier, and where there is none if it is to be `put`. */
  private async hash(put: boolean): Promise<string> {
    const { file, store } = this;
    const carried = await this.carrier?.work(this, { kind: "take" });
    if (carried?.actual !== undefined) return carried.actual;
    const actual = await digest(this.target);
    if (put && actual === file.sha256) await store.put(keyOf(file), this.target);
    return actual;
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
