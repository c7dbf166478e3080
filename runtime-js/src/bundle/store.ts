// Keeps verified files in the Cache API, so that a second load needs no network. Every failure here is survivable:
// without `caches`, or with full storage, files are simply not kept.

const CACHE = "mlcweb-v1";

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

  /** Whether what is put is kept. */
  get keeps(): boolean {
    return this.cache !== undefined && !this.full;
  }

  async get(key: string): Promise<Response | undefined> {
    try {
      return await this.cache?.match(key);
    } catch {
      return undefined;
    }
  }

  /** Stores a copy of the bytes; the caller may reuse its buffer once this resolves. */
  async put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (!this.cache || this.full) return;
    try {
      await this.cache.put(key, new Response(bytes, { headers: { "Content-Length": String(bytes.length) } }));
    } catch (error) {
      if (!this.full) this.onFull(error); // several files are put at a time
      this.full = true;
    }
  }

  async delete(key: string): Promise<void> {
    await this.cache?.delete(key).catch(() => false);
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

/** Forgets the cached files of the bundle at `base`, an absolute URL that ends in a slash: all, or those whose name
 * `which` says. Returns how many there were. */
export async function deleteCached(base: string, which: (file: string) => boolean = () => true): Promise<number> {
  const cache = await openCache();
  if (!cache) return 0;
  let count = 0;
  for (const request of await cache.keys()) {
    if (!request.url.startsWith(base)) continue;
    const file = request.url.slice(base.length).replace(/\?.*/, "");
    if (which(file) && (await cache.delete(request))) count++;
  }
  return count;
}

/** The cached files of the bundle at `base`, by name and query, and how to read each as text. */
export async function listCached(base: string): Promise<Map<string, () => Promise<string | undefined>>> {
  const kept = new Map<string, () => Promise<string | undefined>>();
  const cache = await openCache();
  if (!cache) return kept;
  for (const request of await cache.keys()) {
    if (request.url.startsWith(base))
      kept.set(request.url.slice(base.length), async () => (await cache.match(request))?.text());
  }
  return kept;
}
