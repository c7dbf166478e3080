// Brings one file into memory, from what is kept or from the network, verifies it and keeps it: on this thread, or on
// one that the load has started.
import { IntegrityError, type MlcwebError, throwIfAborted, WebPageError } from "../errors.js";
import type { Job, Result, Thread } from "../threads/index.js";
import { foreign } from "./came.js";
import { download, type FetchLike } from "./download.js";
import { digest, fileName, folderName } from "./files.js";
import { alone } from "./locks.js";
import type { SourceOptions } from "./source.js";
import { type Kept, keyOf, type Store } from "./store.js";

export const pagesFetch: FetchLike = (url, init) => fetch(url, init);

type Without<T> = T extends unknown ? Omit<T, "bytes" | "sha256" | "place" | "trust"> : never;

export interface ReadingOptions extends SourceOptions {
  readonly query: string;
  /** Take what is kept as it is, where it was verified when it was written. */
  readonly trust: boolean;
}

export class Reading {
  private readonly url: string;

  constructor(
    private readonly file: Kept,
    private target: Uint8Array<ArrayBuffer>,
    private readonly store: Store,
    private readonly options: ReadingOptions,
    private thread: Thread | undefined,
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
    let kept = store.reads ? (await this.inThread({ kind: "read" }))?.kept : undefined;
    if (kept === undefined || kept === "missing") {
      const cached = await store.get(keyOf(file));
      const found = cached ?? (this.thread ? undefined : await store.find(file));
      throwIfAborted(options.signal);
      if (!found) return false;
      const came = await fill(found, this.target);
      // The Cache API has whole files, which were verified. A thread keeps them where it reads faster.
      const trusted = cached && options.trust && !this.thread;
      const hashed = (): Promise<string> => (this.thread ? this.hashAndKeep() : digest(this.target));
      const right = came && (trusted || (await hashed()) === file.sha256);
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
        let { filled = 0, actual } = await this.fetchInThread(url + query, cacheMode, onBytes);
        onBytes(filled - counted);
        if (filled < file.bytes)
          await download(url + query, this.target, { fetch, signal, cacheMode, onBytes, backoffMs, filled });
        actual ??= await this.hashAndKeep();
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

  /** What a thread gets at the first attempt. It says nothing of what goes wrong: `download` goes on from there. */
  private async fetchInThread(url: string, cache: RequestCache, onBytes: (bytes: number) => void): Promise<Result> {
    if (this.options.fetch || !this.thread?.fetches) return {};
    const result = await this.inThread({ kind: "take", url, cache }, onBytes);
    if (!result?.filled && this.thread) this.thread.fetches = false; // such as where the page's own `fetch` is another
    return result ?? {};
  }

  /** The sha256 of the target, which is kept if it is right. */
  private async hashAndKeep(): Promise<string> {
    const { file, store } = this;
    const result = await this.inThread({ kind: "take" });
    if (result) {
      if (result.unkept === undefined) await store.delete(keyOf(file)); // of an earlier version, or without threads
      return result.actual!;
    }
    const actual = await digest(this.target);
    if (actual === file.sha256) await store.put(keyOf(file), this.target);
    return actual;
  }

  /** undefined where there is no thread, or it has ended: then the target is empty. */
  private async inThread(job: Without<Job>, onBytes?: (bytes: number) => void): Promise<Result | undefined> {
    const { file, store, thread, options } = this;
    if (!thread) return undefined;
    const { buffer } = this.target;
    const size = buffer.byteLength;
    const keeps = job.kind === "read" ? store.reads : store.keeps;
    const place = keeps ? { folder: await folderName(file.base), file: fileName(file) } : undefined;
    const { bytes, sha256 } = file;
    const done = await thread.run({ ...job, bytes, sha256, place, trust: options.trust }, buffer, onBytes);
    throwIfAborted(options.signal);
    this.target = new Uint8Array(done?.memory ?? new ArrayBuffer(size), 0, bytes);
    if (!done) this.thread = undefined;
    if (done?.result.unkept) store.fill(done.result.unkept);
    return done?.result;
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
