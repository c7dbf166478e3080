import { afterEach, describe, expect, it, vi } from "vitest";
import { type FetchLike, Source, type SourceOptions } from "../src/bundle/index.js";
import { BundleError, CancelledError, IntegrityError, WebPageError } from "../src/errors.js";
import { manifest, manifestJson, WASM } from "./sample.js";

const DATA = Uint8Array.from({ length: 100 }, (_, i) => i);
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** A Cache API that keeps things. */
function keeping(): Map<string, Uint8Array<ArrayBuffer>> {
  const kept = new Map<string, Uint8Array<ArrayBuffer>>();
  const cache = {
    match: async (key: string) => (kept.has(key) ? new Response(kept.get(key)!) : undefined),
    put: async (key: string, value: Response) => {
      kept.set(key, new Uint8Array(await value.arrayBuffer()));
    },
    delete: async (key: string) => kept.delete(key),
  };
  vi.stubGlobal("caches", { open: async () => cache });
  return kept;
}

const bundle = (): string => JSON.stringify(manifestJson());
const PAGE = (): Response =>
  new Response("<!DOCTYPE html><title>Log in</title>", { headers: { "Content-Type": "text/html" } });

describe("the manifest", () => {
  const URL_ = "https://x.test/m";
  const failing =
    (status: number, headers?: Record<string, string>): FetchLike =>
    async () =>
      new Response("", { status, ...(headers && { headers }) });

  it.each([
    ["408", failing(408)],
    ["425", failing(425)],
    ["429", failing(429)],
    ["429, for an hour", failing(429, { "Retry-After": "3600" })],
    ["503", failing(503)],
    [
      "no network",
      async () => {
        throw new TypeError("Failed to fetch");
      },
    ],
    ["a captive portal's page", async () => PAGE()],
    ["a captive portal's status", failing(511)],
  ] as [string, FetchLike][])("is the kept one after %s, and the error where none is kept", async (_, fetch) => {
    const json = bundle();
    keeping();
    await (await Source.open(URL_, { fetch: async () => new Response(json) })).manifest();
    const warnings: string[] = [];
    const again = await Source.open(URL_, {
      fetch,
      backoffMs: 1,
      onWarning: ({ code, message }) => warnings.push(`${code}: ${message}`),
    });
    expect((await again.manifest()).files.get(WASM)!.bytes).toBe(100);
    expect(warnings).toEqual([
      expect.stringMatching(/^offline: .*mlcweb\.json.* The copy of the last visit is used\.$/),
    ]);
    vi.unstubAllGlobals();
    await expect((await Source.open(URL_, { fetch, backoffMs: 1 })).manifest()).rejects.toMatchObject({
      code: expect.stringMatching(/^(network|web-page)$/) as string,
    });
  });

  describe("where all that a load needs is kept", () => {
    /** The cache after a visit, and a source that meets the server as it is now. */
    async function visited(fetch: FetchLike, missing?: string) {
      const kept = keeping();
      const { files } = manifest();
      for (const [name, { sha256 }] of files)
        if (name !== missing) kept.set(`https://x.test/m/${name}?sha256=${sha256}`, DATA);
      kept.set("https://x.test/m/mlcweb.json", new TextEncoder().encode(bundle()));
      const warnings: string[] = [];
      const onWarning = ({ code, message }: { code: string; message: string }): unknown =>
        warnings.push(`${code}: ${message}`);
      return { source: await Source.open(URL_, { fetch, backoffMs: 1, onWarning }), warnings };
    }
    const hangs: FetchLike = (_, { signal }) =>
      new Promise((__, reject) => signal!.addEventListener("abort", () => reject(signal!.reason as Error)));

    it.each([404, 410, 403, 401])("is the kept one when the server answers %i", async (status) => {
      const { source, warnings } = await visited(failing(status));
      expect((await source.manifest()).name).toBe(manifest().name);
      expect(warnings).toEqual([expect.stringMatching(new RegExp(`^offline: .*${status}.* last visit is used`))]);
      const some = await visited(failing(status), WASM);
      await expect(some.source.manifest()).rejects.toThrow(BundleError);
      expect(some.warnings).toEqual([]);
    });

    it("is the kept one when the server says nothing for three seconds", async () => {
      vi.useFakeTimers();
      let aborted = false;
      const { source, warnings } = await visited((url, init) => {
        init.signal!.addEventListener("abort", () => (aborted = true));
        return hangs(url, init);
      });
      const started = Date.now();
      const running = source.manifest();
      await vi.advanceTimersByTimeAsync(2990);
      expect(warnings).toEqual([]);
      await vi.advanceTimersByTimeAsync(20);
      expect((await running).name).toBe(manifest().name);
      expect([Date.now() - started < 3100, aborted, vi.getTimerCount()]).toEqual([true, true, 0]);
      expect(warnings).toEqual([expect.stringMatching(/^offline: mlcweb.json did not come within 3 s/)]);
    });

    it("is waited for where something is missing, or the server has begun to answer", async () => {
      vi.useFakeTimers();
      const json = bundle();
      const late: FetchLike = () => new Promise((resolve) => setTimeout(() => resolve(new Response(json)), 5000));
      const some = await visited(late, WASM);
      const running = some.source.manifest();
      await vi.advanceTimersByTimeAsync(5100);
      await running;
      const slow: FetchLike = async () => {
        const body = new ReadableStream({
          async start(controller) {
            await new Promise((resolve) => setTimeout(resolve, 5000));
            controller.enqueue(new TextEncoder().encode(json));
            controller.close();
          },
        });
        return new Response(body);
      };
      const begun = await visited(slow);
      const reading = begun.source.manifest();
      await vi.advanceTimersByTimeAsync(5100);
      await reading;
      expect([...some.warnings, ...begun.warnings]).toEqual([]);
    });

    it("is cancelled while nothing is said", async () => {
      const controller = new AbortController();
      keeping().set("https://x.test/m/mlcweb.json", new TextEncoder().encode(bundle()));
      const source = await Source.open(URL_, { fetch: hangs, signal: controller.signal });
      const running = source.manifest();
      setTimeout(() => controller.abort(), 10);
      await expect(running).rejects.toThrow(CancelledError);
    });

    it("that is kept and damaged is no help, nor an error of its own", async () => {
      keeping().set("https://x.test/m/mlcweb.json", new TextEncoder().encode("{"));
      const source = await Source.open(URL_, { fetch: failing(404) });
      await expect(source.manifest()).rejects.toThrow(/There is no bundle/);
    });
  });

  it("waits as the server asks, but not for long where one is kept", async () => {
    vi.useFakeTimers();
    const json = bundle();
    const calls: number[] = [];
    const fetch: FetchLike = async () => {
      calls.push(Date.now());
      return calls.length === 1
        ? new Response("", { status: 429, headers: { "Retry-After": "9" } })
        : new Response(json);
    };
    const open = async (): Promise<unknown> => (await Source.open(URL_, { fetch })).manifest();
    const first = open();
    await vi.runAllTimersAsync();
    await first;
    expect(calls[1]! - calls[0]!).toBe(9000);
    const kept = keeping();
    kept.set("https://x.test/m/mlcweb.json", new TextEncoder().encode(json));
    calls.length = 0;
    const before = Date.now();
    await open();
    expect([calls.length, Date.now() - before]).toEqual([1, 0]);
  });

  it("that stalls is asked for again, and can be cancelled", async () => {
    vi.useFakeTimers();
    const json = bundle();
    let calls = 0;
    const stalls: FetchLike = (_, { signal }) =>
      ++calls === 1
        ? new Promise((__, reject) => signal!.addEventListener("abort", () => reject(signal!.reason as Error)))
        : Promise.resolve(new Response(json));
    const running = (await Source.open(URL_, { fetch: stalls })).manifest();
    await vi.runAllTimersAsync();
    await running;
    expect(calls).toBe(2);
    const controller = new AbortController(),
      fetch: FetchLike = async () => {
        throw new TypeError("Failed to fetch");
      };
    const cancelled = (await Source.open(URL_, { fetch, signal: controller.signal }))
      .manifest()
      .catch((e: unknown) => e);
    await vi.advanceTimersByTimeAsync(100);
    controller.abort();
    expect(await cancelled).toBeInstanceOf(CancelledError);
  });

  it.each([
    ["a page", PAGE, WebPageError],
    ["a page without its type", () => new Response("  <html>"), WebPageError],
    [
      "a sentence of type text/html",
      () => new Response("Hello", { headers: { "Content-Type": "text/html" } }),
      WebPageError,
    ],
    ["something else", () => new Response("Hello"), BundleError],
    ["nothing", () => new Response(""), BundleError],
    ["403", () => new Response("", { status: 403 }), BundleError],
  ] as const)("that is %s is told at once", async (_, answer, kind) => {
    let calls = 0;
    const source = await Source.open(URL_, {
      fetch: async () => {
        calls++;
        return answer();
      },
    });
    await expect(source.manifest()).rejects.toThrow(kind);
    expect(calls).toBe(1);
  });

  it("may have any content type", async () => {
    const json = bundle();
    for (const type of ["text/html", "text/plain", ""]) {
      const source = await Source.open(URL_, {
        fetch: async () => new Response(`\ufeff \n${json}`, { headers: { "Content-Type": type } }),
      });
      expect((await source.manifest()).files.size).toBeGreaterThan(1);
    }
  });
});

describe("a query", () => {
  async function visit(url: string, options: SourceOptions = {}): Promise<{ asked: string[]; base: string }> {
    const json = bundle(),
      asked: string[] = [];
    const fetch: FetchLike = async (at) => {
      asked.push(at);
      return new Response(/json/.test(at) ? json : DATA);
    };
    const source = await Source.open(url, { fetch, ...options });
    await source.file(await source.manifest(), WASM);
    return { asked, base: source.base };
  }

  it.each([
    "https://x.test/m?token=a%2Fb&x=/y.z",
    "https://x.test/m/?token=a%2Fb&x=/y.z#here",
    "https://x.test/m/mlcweb.json?token=a%2Fb&x=/y.z",
  ])("goes with every file, but is no part of the bundle's name: %s", async (url) => {
    const kept = keeping();
    const { asked, base } = await visit(url);
    expect(asked).toEqual(["mlcweb.json", WASM].map((name) => `https://x.test/m/${name}?token=a%2Fb&x=/y.z`));
    expect(base).toBe("https://x.test/m/");
    expect([...kept.keys()].join()).not.toContain("token");
    // the rest is kept
    expect((await visit("https://x.test/m/?token=new")).asked).toEqual(["https://x.test/m/mlcweb.json?token=new"]);
  });

  it("is in no error", async () => {
    const url = "https://x.test/m/?token=secret";
    for (const fetch of [
      async () => {
        throw new TypeError("Failed to fetch");
      },
      async () => new Response("", { status: 404 }),
      async () => new Response("", { status: 500 }),
    ]) {
      const error = (await (
        await Source.open(url, { fetch, backoffMs: 1 })
      )
        .manifest()
        .catch((e: unknown) => e)) as Error & { hint: string };
      expect(error.message + error.hint).not.toContain("secret");
    }
  });
});

describe("source", () => {
  it("names a damaged file after asking once more past caches", async () => {
    const modes: unknown[] = [];
    const fetch: FetchLike = async (url, init) => {
      if (url.endsWith("mlcweb.json")) return new Response(JSON.stringify(manifestJson()));
      modes.push(init.cache);
      return new Response(new Uint8Array(100));
    };
    let counted = 0;
    const source = await Source.open("https://x.test/m", { fetch, onBytes: (n) => (counted += n) });
    const manifest = await source.manifest();
    const error = await source.file(manifest, WASM).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(IntegrityError);
    expect((error as IntegrityError).file).toBe(WASM);
    expect(modes).toEqual(["default", "reload"]);
    expect(counted).toBe(0);
  });
  it("names a page that came in place of a file, after asking once more past caches", async () => {
    const modes: unknown[] = [],
      manifest = bundle();
    const fetch: FetchLike = async (url, init) => {
      if (url.endsWith("mlcweb.json")) return new Response(manifest);
      modes.push(init.cache);
      return modes.length % 2
        ? PAGE()
        : modes.length === 2
          ? new Response(DATA)
          : new Response("<!doctype html>".padEnd(100));
    };
    let counted = 0;
    const source = await Source.open("https://x.test/m", { fetch, onBytes: (n) => (counted += n) });
    const parsed = await source.manifest();
    expect(await source.file(parsed, WASM)).toEqual(DATA); // the first was the HTTP cache's
    const error = await source.file(parsed, WASM).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "web-page", file: WASM });
    expect([modes, counted]).toEqual([["default", "reload", "default", "reload"], 100]);
  });
  it("leaves the browser's HTTP cache alone while the Cache API keeps the files", async () => {
    let full = false;
    const cache = {
      match: async () => undefined,
      put: async () => {
        if (full) throw new DOMException("full", "QuotaExceededError");
      },
      delete: async () => true,
    };
    vi.stubGlobal("caches", { open: async () => cache });
    const modes: unknown[] = [],
      warnings: string[] = [],
      manifest = bundle();
    const fetch: FetchLike = async (url, init) => {
      if (url.endsWith("mlcweb.json")) return new Response(manifest);
      modes.push(init.cache);
      return new Response(DATA);
    };
    const source = await Source.open("https://x.test/m", { fetch, onWarning: ({ code }) => warnings.push(code) });
    const parsed = await source.manifest();
    await source.file(parsed, WASM);
    full = true;
    await source.file(parsed, WASM);
    await source.file(parsed, WASM);
    expect(modes).toEqual(["no-store", "no-store", "default"]);
    expect(warnings).toEqual(["storage-full"]);
  });
  it("says when there is no bundle at the URL", async () => {
    const source = await Source.open("https://x.test/m", { fetch: async () => new Response("", { status: 404 }) });
    await expect(source.manifest()).rejects.toThrow(/There is no bundle at https:\/\/x.test\/m\//);
  });
});
