// Keeps verified files, so that a second load needs no network: weights in the origin's private file system where
// carriers read and write them (files.ts), all else in the Cache API. Every failure here is survivable: where a browser
// keeps nothing, or its storage is full, files are simply not kept.
import { fileName, filesIn, folderName, openFile, openFolder, removeFile } from "./files.js";

const CACHE = "mlcweb-v1";

/** A file of a bundle, whose URL's folder is `base`. */
export interface Kept {
  readonly base: string;
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
}

export const keyOf = ({ base, name, sha256 }: Omit<Kept, "bytes">): string => `${base}${name}?sha256=${sha256}`;

export class Store {
  private constructor(
    private readonly cache: Cache | undefined,
    private readonly onFull: (error: unknown) => void,
  ) {}

  static async open(enabled: boolean, onFull: (error: unknown) => void): Promise<Store> {
    if (!enabled) return new Store(undefined, onFull);
    try {
      return new Store(await globalThis.caches?.open(CACHE), onFull);
    } catch (error) {
      onFull(error);
      return new Store(undefined, onFull);
    }
  }

  private full = false;

  /** Whether there may be what was kept. */
  get reads(): boolean {
    return this.cache !== undefined;
  }

  /** Whether what is put is kept. */
  get keeps(): boolean {
    return this.cache !== undefined && !this.full;
  }

  /** Keeps nothing more, and says so once. */
  fill(error: unknown): void {
    if (!this.full) this.onFull(error);
    this.full = true;
  }

  async get(key: string): Promise<Response | undefined> {
    try {
      return await this.cache?.match(key);
    } catch {
      return undefined;
    }
  }

  /** A file that a carrier kept. */
  async find(file: Kept): Promise<Response | undefined> {
    if (!this.cache) return undefined;
    const found = await openFile(await openFolder(await folderName(file.base)), fileName(file));
    // one that was not written to its end is none
    return found && found.size >= file.bytes ? new Response(found.slice(0, file.bytes)) : undefined;
  }

  /** Stores a copy of the bytes; the caller may reuse its buffer once this resolves. */
  async put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (!this.cache || this.full) return;
    try {
      await this.cache.put(key, new Response(bytes, { headers: { "Content-Length": String(bytes.length) } }));
    } catch (error) {
      this.fill(error);
    }
  }

  async delete(key: string): Promise<void> {
    await this.cache?.delete(key).catch(() => false);
  }

  /** Forgets a file, by whichever way it was kept. */
  async forget(file: Kept): Promise<void> {
    await this.delete(keyOf(file));
    const folder = await openFolder(await folderName(file.base));
    if (folder) await removeFile(folder, fileName(file));
  }
}

/** Undefined where there is none, or where the page may not use it, as in a sandboxed frame, whose `caches` throws. */
export async function openCache(): Promise<Cache | undefined> {
  try {
    return await globalThis.caches?.open(CACHE);
  } catch {
    return undefined;
  }
}

/** Forgets the kept files of the bundle at `base`, an absolute URL that ends in a slash: all, or those whose name
 * `which` says. Returns how many there were. */
export async function deleteCached(base: string, which: (file: string) => boolean = () => true): Promise<number> {
  let count = 0;
  const cache = await openCache();
  for (const request of (await cache?.keys()) ?? []) {
    if (!request.url.startsWith(base)) continue;
    const file = request.url.slice(base.length).replace(/\?.*/, "");
    if (which(file) && (await cache!.delete(request))) count++;
  }
  const folder = await openFolder(await folderName(base));
  for (const file of await filesIn(folder)) {
    if (which(file.name) && (await removeFile(folder!, fileName(file)))) count++;
  }
  return count;
}

/** A kept file: its bytes, where that is known, and how to read it as text. */
export interface Listed {
  readonly bytes?: number | undefined;
  readonly text?: () => Promise<string | undefined>;
}

/** The kept files of the bundle at `base`, by name and query. */
export async function listCached(base: string): Promise<Map<string, Listed>> {
  const kept = new Map<string, Listed>();
  const cache = await openCache();
  for (const request of (await cache?.keys()) ?? [])
    if (request.url.startsWith(base))
      kept.set(request.url.slice(base.length), { text: async () => (await cache!.match(request))?.text() });
  const folder = await openFolder(await folderName(base));
  for (const file of await filesIn(folder)) {
    const key = keyOf({ base: "", ...file });
    if (!kept.has(key)) kept.set(key, { bytes: (await openFile(folder, fileName(file)))?.size });
  }
  return kept;
}
