import { afterEach, describe, expect, it, vi } from "vitest";
import { digest } from "../src/bundle/files.js";
import { type FetchLike, Source, type SourceOptions } from "../src/bundle/index.js";
import { bringWeights, startCarriers } from "../src/engine/bring_weights.js";
import { deleteFromCache, isInCache } from "../src/engine/cached.js";
import { chooseVerify } from "../src/engine/options.js";
import { BundleError, CancelledError, IntegrityError, InvalidRequestError } from "../src/errors.js";
import { browser } from "./fake_storage.js";
import { manifestJson } from "./sample.js";

const URL_ = "https://x.test/m/";
const SIZES = [64, 64, 32];
const SEALED = [96, 96, 64];
const CHUNKS = SIZES.map((length, chunk) => Uint8Array.from({ length }, (_, i) => chunk * 64 + i));
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A bundle of three chunks at a server that counts, and does to an answer what a test says. */
async function served() {
  const json = manifestJson();
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [chunk, bytes] of CHUNKS.entries()) {
    const name = json.weights.chunks[chunk] as string;
    const sha256 = await digest(bytes);
    const renamed = `w${chunk}.${sha256.slice(0, 8)}.bin`;
    json.weights.chunks[chunk] = renamed;
    json.files[renamed] = { bytes: bytes.length, sha256 };
    if (renamed !== name) delete json.files[name];
    files.set(renamed, bytes);
  }
  files.set("mlcweb.json", new TextEncoder().encode(JSON.stringify(json)));
  const server = {
    hits: [] as string[],
    names: json.weights.chunks as string[],
    ranges: [] as string[],
    answer: undefined as ((name: string, bytes: Uint8Array<ArrayBuffer>) => Response | undefined) | undefined,
    fetch: (async (url, init) => {
      const name = url.slice(URL_.length);
      const range = new Headers(init.headers).get("Range");
      if (range) server.ranges.push(range);
      server.hits.push(name);
      const bytes = files.get(name)!;
      const start = Number(/\d+/.exec(range ?? "0")![0]);
      return (
        server.answer?.(name, bytes) ??
        new Response(bytes.slice(start), {
          status: range ? 206 : 200,
          headers: range ? { "Content-Range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {},
        })
      );
    }) as FetchLike,
  };
  vi.stubGlobal("fetch", server.fetch);
  return server;
}

/** Brings all weights, as a load does. */
async function visit(options: SourceOptions & { controller?: AbortController } = {}) {
  const { controller = new AbortController() } = options;
  const warnings: string[] = [];
  const got: number[] = [];
  let counted = 0;
  const source = await Source.open(URL_, {
    backoffMs: 1,
    onWarning: ({ code }) => warnings.push(code),
    onBytes: (bytes) => (counted += bytes),
    signal: controller.signal,
    ...options,
  });
  const manifest = await source.manifest();
  const carriers = startCarriers(source, manifest);
  const sink = {
    ready: async () => {},
    flushed: async () => {},
    write: (tensor: string, offset: number, bytes: Uint8Array) => {
      for (const [i, byte] of bytes.entries()) got[manifest.tensors.get(tensor)!.offset + offset + i] = byte;
    },
  };
  await bringWeights({ source, manifest, carriers }, ["a", "b", "c"], sink, controller);
  const right = got.every((byte, i) => byte === i) && got.length === 160;
  return { warnings, right, counted, carriers: (await carriers).length };
}

const ALL = { warnings: [], right: true, counted: 160, carriers: 3 };

describe("weights that carriers bring", () => {
  it("come from the server once, and are kept as files", async () => {
    const { disk, asked, living } = browser();
    const server = await served();
    expect(await visit()).toEqual(ALL);
    expect([...disk.files().values()].map(({ bytes }) => bytes.length)).toEqual(SIZES);
    expect([...disk.cache.keys()]).toEqual([`${URL_}mlcweb.json`]);
    server.hits.length = asked.length = 0;
    expect(await visit()).toEqual(ALL);
    expect(server.hits).toEqual(["mlcweb.json"]);
    expect(asked.map(({ kind }) => kind)).toEqual(["read", "read", "read"]);
    expect([living.size, disk.flushes]).toEqual([0, 0]);
  });

  it("that are damaged are deleted and fetched again", async () => {
    const { disk } = browser();
    const server = await served();
    await visit();
    for (const [, file] of [...disk.files()].slice(0, 2)) file.bytes[10]! ^= 1;
    server.hits.length = 0;
    expect(await visit()).toEqual({ ...ALL, warnings: ["cache-corrupt", "cache-corrupt"] });
    expect(server.hits.length).toBe(3);
    expect(await visit()).toEqual(ALL);
  });

  it("that were not written to their end are fetched again", async () => {
    const { disk } = browser();
    const server = await served();
    await visit();
    for (const file of disk.files().values()) file.bytes = file.bytes.slice(0, 30);
    expect(await isInCache(URL_)).toBe(false);
    server.hits.length = 0;
    expect(await visit()).toEqual(ALL);
    expect(server.hits.length).toBe(4);
  });

  it("are fetched again after the browser has deleted what was kept", async () => {
    const { disk } = browser();
    const server = await served();
    await visit();
    disk.evict();
    server.hits.length = 0;
    expect(await visit()).toEqual(ALL);
    expect([server.hits.length, disk.files().size]).toEqual([4, 3]);
  });

  it("are loaded when the storage is full, and said once not to be kept", async () => {
    const { disk } = browser();
    await served();
    disk.quota = 100;
    expect(await visit()).toEqual({ ...ALL, warnings: ["storage-full"] });
    const parts = [...disk.files().values()].filter(({ bytes }) => !SIZES.includes(bytes.length));
    expect([disk.files().size < 3, parts]).toEqual([true, []]);
    expect(await visit()).toEqual({ ...ALL, warnings: ["storage-full"] });
  });

  it("are loaded where nothing may be kept, as in a private window", async () => {
    const { disk, asked } = browser("right", { storage: false });
    await served();
    expect(await visit()).toEqual({ ...ALL, warnings: ["storage-full"] });
    expect([disk.files().size, asked.some(({ keep }) => keep)]).toEqual([0, false]);
  });

  it.each(["none", "refused", "failing"] as const)("come without workers: %s", async (workers) => {
    const { disk, living } = browser(workers);
    const server = await served();
    expect(await visit()).toEqual({ ...ALL, carriers: 0 });
    expect([disk.cache.size, disk.files().size, living.size]).toEqual([4, 0, 0]);
    server.hits.length = 0;
    expect(await visit()).toEqual({ ...ALL, carriers: 0 });
    expect(server.hits).toEqual(["mlcweb.json"]);
  });

  it("come without workers that say nothing", async () => {
    vi.useFakeTimers();
    browser("silent");
    await served();
    const visiting = visit();
    await vi.advanceTimersByTimeAsync(5100);
    expect(await visiting).toEqual({ ...ALL, carriers: 0 });
  });

  it("come where a worker ends, such as one that the system has stopped", async () => {
    const { disk } = browser("ending");
    await served();
    expect(await visit()).toEqual(ALL);
    expect(disk.cache.size).toBe(4);
  });

  it("are read without workers where carriers kept them", async () => {
    const { disk } = browser();
    const server = await served();
    await visit();
    vi.stubGlobal("Worker", undefined);
    server.hits.length = 0;
    expect(await visit({ verify: "first" })).toEqual({ ...ALL, carriers: 0 });
    expect(server.hits).toEqual(["mlcweb.json"]);
    [...disk.files().values()][0]!.bytes[3]! ^= 1;
    expect(await visit({ verify: "first" })).toEqual({ ...ALL, warnings: ["cache-corrupt"], carriers: 0 });
    expect(disk.files().size).toBe(2);
  });

  it("that an earlier version kept in the Cache API become files", async () => {
    const { disk } = browser("none");
    const server = await served();
    await visit();
    const again = browser();
    for (const [key, bytes] of disk.cache) again.disk.cache.set(key, bytes);
    again.disk.cache.get([...disk.cache.keys()].find((key) => key.includes("w1."))!)![0]! ^= 1;
    server.hits.length = 0;
    expect(await visit()).toEqual({ ...ALL, warnings: ["cache-corrupt"] });
    expect(server.hits.length).toBe(2);
    expect([again.disk.cache.size, again.disk.files().size]).toEqual([1, 3]);
  });

  it("stay in the Cache API where there is no room for both", async () => {
    const { disk } = browser("none");
    await served();
    await visit();
    const again = browser();
    for (const [key, bytes] of disk.cache) again.disk.cache.set(key, bytes);
    again.disk.quota = 0;
    expect(await visit()).toEqual({ ...ALL, warnings: ["storage-full"] });
    expect([again.disk.cache.size, again.disk.files().size]).toEqual([4, 0]);
  });

  it("are listed and forgotten with the rest", async () => {
    const { disk } = browser();
    const server = await served();
    await visit();
    expect(await deleteFromCache(URL_, (file) => file === server.names[1])).toBe(1);
    expect(disk.files().size).toBe(2);
    expect(await deleteFromCache("https://x.test/other/")).toBe(0);
    expect(await deleteFromCache(URL_)).toBe(3);
    expect([disk.files().size, disk.cache.size]).toEqual([0, 0]);
  });

  it("are forgotten though a carrier that was ended still has one, and left where a tab goes on using it", async () => {
    const { disk } = browser();
    await served();
    await visit();
    const folder = [...[...disk.root.folders.values()][0]!.folders.values()][0]!;
    const [first, second] = await Promise.all(
      [...folder.files.keys()].slice(0, 2).map(async (name) => {
        const file = await folder.getFileHandle(name);
        return file.createSyncAccessHandle();
      }),
    );
    setTimeout(() => first!.close(), 120);
    expect(await deleteFromCache(URL_)).toBe(3);
    expect(disk.files().size).toBe(1);
    second!.close();
    expect(await deleteFromCache(URL_)).toBe(1);
  });

  it("are fetched by a function of the page, and hashed and kept by carriers", async () => {
    const { disk, asked } = browser();
    const server = await served();
    const { fetch } = server;
    vi.stubGlobal("fetch", undefined);
    expect(await visit({ fetch })).toEqual(ALL);
    expect([disk.files().size, asked.filter((ask) => ask.kind === "take").length]).toEqual([3, 3]);
  });
});

describe("a server that", () => {
  it("breaks off is asked for the rest, with what came counted once", async () => {
    browser();
    const server = await served();
    const broken = new Set(server.names);
    server.answer = (name, bytes) => {
      if (!broken.delete(name)) return undefined;
      let sent = false;
      return new Response(
        new ReadableStream({
          pull(controller) {
            if (sent) return controller.error(new Error("broken"));
            sent = true;
            controller.enqueue(bytes.slice(0, 24));
          },
        }),
      );
    };
    expect(await visit()).toEqual(ALL);
    expect(server.ranges).toEqual(["bytes=24-", "bytes=24-", "bytes=24-"]);
  });

  it("sends wrong bytes is asked once more past caches, and named", async () => {
    const { disk } = browser();
    const server = await served();
    server.answer = (name, { length }) => (name === "mlcweb.json" ? undefined : new Response(new Uint8Array(length)));
    const error = await visit().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(IntegrityError);
    expect(disk.files().size).toBe(0);
    server.answer = undefined;
    expect(await visit()).toEqual(ALL);
  });

  it.each([
    ["has no such file", () => new Response("", { status: 404 }), BundleError],
    ["sends a longer file", () => new Response(new Uint8Array(65)), IntegrityError],
    ["sends a shorter file", () => new Response(Uint8Array.of(0x1f, 0x8b, 8)), IntegrityError],
  ] as const)("%s is told by the page's own error", async (_, answer, kind) => {
    const { living } = browser();
    const server = await served();
    server.answer = (name) => (name === "mlcweb.json" ? undefined : answer());
    await expect(visit()).rejects.toThrow(kind);
    expect(living.size).toBe(0);
  });

  it("answers the page alone is asked by a worker once", async () => {
    const { asked } = browser();
    const server = await served();
    let byPage = false;
    vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
      byPage = Boolean((init as { headers?: unknown }).headers);
      return byPage || url.endsWith("json") ? server.fetch(url, init) : new Response("", { status: 401 });
    });
    expect(await visit()).toEqual(ALL);
    expect(asked.filter((ask) => ask.kind === "take" && ask.url).length).toBe(3);
  });
});

describe("verify", () => {
  it('"first" does not hash what was verified when it was written', async () => {
    const { disk } = browser();
    await served();
    expect(await visit({ verify: "first" })).toEqual(ALL);
    expect([...disk.files().values()].map(({ bytes }) => bytes.length)).toEqual(SEALED);
    expect(disk.flushes).toBe(3);
    for (const file of disk.files().values()) file.bytes[31]! ^= 1;
    expect(await visit({ verify: "first" })).toMatchObject({ warnings: [] });
    expect(await visit()).toEqual({ ...ALL, warnings: Array(3).fill("cache-corrupt") });
  });

  it('"first" hashes what has no seal, or another\'s, and seals it', async () => {
    const { disk } = browser();
    await served();
    await visit();
    const [first, second, third] = [...disk.files().values()];
    first!.bytes[0]! ^= 1;
    expect(await visit({ verify: "first" })).toEqual({ ...ALL, warnings: ["cache-corrupt"] });
    const sealed = [...disk.files().values()];
    expect(sealed.map(({ bytes }) => bytes.length).sort()).toEqual([...SEALED].sort());
    second!.bytes[70]! ^= 1; // the seal
    third!.bytes = third!.bytes.slice(0, 63);
    for (const file of [second!, third!]) file.bytes[5]! ^= 1;
    expect(await visit({ verify: "first" })).toEqual({ ...ALL, warnings: ["cache-corrupt", "cache-corrupt"] });
  });

  it("is one of two", () => {
    expect([chooseVerify(undefined), chooseVerify("first")]).toEqual(["always", "first"]);
    expect(() => chooseVerify("never" as "first")).toThrow(InvalidRequestError);
  });
});

describe("two loads at once", () => {
  it.each([true, false])("download once, where several may read a file at once or not: %s", async (sharing) => {
    const { disk } = browser();
    disk.sharing = sharing;
    const server = await served();
    expect(await Promise.all([visit(), visit(), visit()])).toEqual([ALL, ALL, ALL]);
    expect(server.hits.filter((name) => name !== "mlcweb.json").sort()).toEqual([...server.names].sort());
    server.hits.length = 0;
    expect(await Promise.all([visit(), visit()])).toEqual([ALL, ALL]);
    expect(server.hits).toEqual(["mlcweb.json", "mlcweb.json"]);
  });

  it("are right without Web Locks", async () => {
    const { disk } = browser("right", { locks: false });
    await served();
    expect(await Promise.all([visit(), visit()])).toEqual([ALL, ALL]);
    expect(disk.files().size).toBe(3);
    expect(await visit()).toEqual(ALL);
  });

  it("do not hinder each other: the second is cancelled, or goes on when the first is", async () => {
    const { living } = browser();
    const server = await served();
    const waiting: (() => void)[] = [];
    let held = true;
    vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
      if (held && !url.endsWith("json"))
        await new Promise<void>((resolve, reject) => {
          waiting.push(resolve);
          init.signal?.addEventListener("abort", () => reject(init.signal!.reason as Error));
        });
      return server.fetch(url, init);
    });
    const [first, second] = [new AbortController(), new AbortController()];
    const visits = [visit({ controller: first }), visit({ controller: second }), visit()].map((visiting) =>
      visiting.catch((error: unknown) => error),
    );
    await vi.waitFor(() => expect(waiting.length).toBe(3));
    second.abort();
    expect(await visits[1]).toBeInstanceOf(CancelledError);
    held = false;
    first.abort();
    for (const wake of waiting) wake();
    expect(await visits[0]).toBeInstanceOf(CancelledError);
    expect(await visits[2]).toEqual(ALL);
    expect(living.size).toBe(0);
  });
});
