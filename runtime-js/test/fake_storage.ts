// What a browser keeps, in memory: the Cache API, the origin's private file system with its locks and quota, Web Locks,
// and workers that run the carriers' code.
import { vi } from "vitest";
import type { Ask, Result } from "../src/carriers/job.js";
import { perform } from "../src/carriers/perform.js";

type Bytes = Uint8Array<ArrayBuffer>;

class FakeFile {
  bytes: Bytes = new Uint8Array();
  readonly locks = { shared: 0, alone: 0 };
}

export class FakeFolder {
  readonly folders = new Map<string, FakeFolder>();
  readonly files = new Map<string, FakeFile>();
  constructor(private readonly disk: Disk) {}

  async getDirectoryHandle(name: string, { create = false } = {}): Promise<FakeFolder> {
    if (!this.folders.has(name) && create) this.folders.set(name, new FakeFolder(this.disk));
    return this.folders.get(name) ?? missing<FakeFolder>(name);
  }
  async getFileHandle(name: string, { create = false } = {}) {
    if (!this.files.has(name) && create) this.files.set(name, new FakeFile());
    const file = this.files.get(name) ?? missing<FakeFile>(name);
    const { disk } = this;
    return {
      getFile: async () => new Blob([file.bytes]),
      async createSyncAccessHandle({ mode = "readwrite" } = {}) {
        const shared = mode === "read-only" && disk.sharing;
        if (file.locks.alone > 0 || (!shared && file.locks.shared > 0))
          throw new DOMException("locked", "NoModificationAllowedError");
        const lock = shared ? "shared" : "alone";
        file.locks[lock]++;
        return {
          read(target: Bytes, { at }: { at: number }) {
            disk.reads++;
            const part = file.bytes.subarray(at, at + target.length);
            target.set(part);
            return part.length;
          },
          write(source: Bytes, { at }: { at: number }) {
            const room = disk.quota - disk.used();
            const end = Math.min(at + source.length, file.bytes.length + Math.max(0, room));
            const written = new Uint8Array(Math.max(file.bytes.length, end));
            written.set(file.bytes);
            written.set(source.subarray(0, Math.max(0, end - at)), at);
            file.bytes = written;
            if (end < at + source.length) throw new DOMException("full", "QuotaExceededError");
            return source.length;
          },
          truncate: (size: number) => {
            file.bytes = file.bytes.slice(0, size);
          },
          flush: () => {
            disk.flushes++;
          },
          close: () => {
            file.locks[lock]--;
          },
        };
      },
    };
  }
  async removeEntry(name: string): Promise<void> {
    const { alone, shared } = (this.files.get(name) ?? missing<FakeFile>(name)).locks;
    if (alone + shared > 0) throw new DOMException("locked", "NoModificationAllowedError");
    this.files.delete(name);
  }
  async *keys(): AsyncGenerator<string> {
    yield* [...this.files.keys()];
  }
}

function missing<T>(name: string): T {
  throw new DOMException(name, "NotFoundError");
}

export class Disk {
  root = new FakeFolder(this);
  /** Whether several may read a file at once. */
  sharing = true;
  quota = Infinity;
  reads = 0;
  flushes = 0;
  readonly cache = new Map<string, Bytes>();

  /** All files by the names that they have in their folders, sorted: carriers end in any order. */
  files(folder = this.root): Map<string, FakeFile> {
    const inner = [...folder.folders.values()].flatMap((each) => [...this.files(each)]);
    return new Map([...folder.files, ...inner].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  used(): number {
    return [...this.files().values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  }
  /** As a browser does with an origin's storage when its disk is full. */
  evict(): void {
    this.root = new FakeFolder(this);
    this.cache.clear();
  }
}

/** How workers behave: they do not start in three ways, or end when they are asked for something. */
export type Workers = "none" | "refused" | "failing" | "silent" | "ending" | "right";

/** Puts it all into the test's globals, until `vi.unstubAllGlobals`. `asked` has what workers were asked to do. */
export function browser(workers: Workers = "right", { locks = true, storage = true } = {}) {
  const disk = new Disk();
  const asked: Ask[] = [];
  const cache = {
    match: async (key: string | Request) => {
      const kept = disk.cache.get(urlOf(key));
      return kept && new Response(kept.slice());
    },
    put: async (key: string, value: Response) => void disk.cache.set(key, new Uint8Array(await value.arrayBuffer())),
    delete: async (key: string | Request) => disk.cache.delete(urlOf(key)),
    keys: async () => [...disk.cache.keys()].map((url) => ({ url })),
  };
  const refuse = async (): Promise<never> => {
    throw new DOMException("no storage here", "SecurityError");
  };
  vi.stubGlobal("caches", { open: storage ? async () => cache : refuse });
  vi.stubGlobal("navigator", {
    storage: { getDirectory: storage ? async () => disk.root : refuse },
    ...(locks && { locks: new FakeLocks() }),
  });
  const living = new Set<FakeWorker>();
  class FakeWorker {
    onmessage: ((event: { data: unknown }) => void) | undefined;
    onerror: ((event: { preventDefault(): void }) => void) | undefined;
    constructor() {
      if (workers === "refused") throw new DOMException("not here", "SecurityError");
      living.add(this);
      if (workers === "failing") setTimeout(() => this.onerror?.({ preventDefault: () => {} }));
      if (workers === "right" || workers === "ending") setTimeout(() => this.onmessage?.({ data: "ready" }));
    }
    addEventListener(): void {}
    terminate(): void {
      living.delete(this);
    }
    postMessage(ask: Ask, transfer: ArrayBuffer[]): void {
      const sent = structuredClone(ask, { transfer });
      asked.push(sent);
      if (workers === "ending") setTimeout(() => this.onerror?.({ preventDefault: () => {} }));
      else void this.perform(sent);
    }
    private async perform({ memory, ...job }: Ask): Promise<void> {
      const say = (data: number | { result: Result; memory: ArrayBuffer }): void => {
        if (living.has(this)) this.onmessage?.({ data });
      };
      const result = await perform(job, new Uint8Array(memory, 0, job.bytes), say);
      say(structuredClone({ result, memory }, { transfer: [memory] }));
    }
  }
  vi.stubGlobal("Worker", workers === "none" ? undefined : FakeWorker);
  return { disk, asked, living };
}

const urlOf = (key: string | Request): string => (typeof key === "string" ? key : key.url);

class FakeLocks {
  private readonly queues = new Map<string, Promise<unknown>>();
  async request(name: string, { signal }: { signal?: AbortSignal }, work: () => Promise<unknown>): Promise<unknown> {
    const before = this.queues.get(name) ?? Promise.resolve();
    let release!: () => void;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.queues.set(
      name,
      before.then(() => held),
    );
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
    try {
      await Promise.race([before, aborted]);
      return await work();
    } finally {
      release();
    }
  }
}
