import { describe, expect, it, vi } from "vitest";
import { download, resolveBundleUrl, Source, type FetchLike } from "../src/bundle/index.js";
import { BundleError, CancelledError, IntegrityError, NetworkError } from "../src/errors.js";
import { manifestJson } from "./sample.js";

const DATA = Uint8Array.from({ length: 100 }, (_, i) => i);
const URL_ = "https://cdn.test/m/w.bin";

/** A body that gives the bytes in pieces and then ends, or breaks. */
function body(bytes: Uint8Array, breaks: boolean, piece = 30): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at < bytes.length) return controller.enqueue(bytes.slice(at, (at += piece)));
      if (breaks) controller.error(new TypeError("network error"));
      else controller.close();
    },
  });
}
const answer = (start: number, end: number, breaks = false): Response =>
  new Response(body(DATA.slice(start, end), breaks), start ? { status: 206, headers: { "Content-Range": `bytes ${start}-99/100` } } : { status: 200 });
const rangeOf = (init: RequestInit): string | undefined => (init.headers as Record<string, string>).Range;

describe("download", () => {
  it("resumes with Range where the connection dropped", async () => {
    const asked: (string | undefined)[] = [];
    const fetch: FetchLike = async (_, init) => { asked.push(rangeOf(init)); return asked.length === 1 ? answer(0, 60, true) : answer(60, 100); };
    const target = new Uint8Array(100);
    let counted = 0;
    await download(URL_, target, { fetch, backoffMs: 1, onBytes: (n) => (counted += n) });
    expect(target).toEqual(DATA);
    expect(asked).toEqual([undefined, "bytes=60-"]);
    expect(counted).toBe(100);
  });
  it("resumes after an answer that ended early without an error", async () => {
    let calls = 0;
    const target = new Uint8Array(100);
    await download(URL_, target, { fetch: async () => (++calls === 1 ? answer(0, 90) : answer(90, 100)), backoffMs: 1 });
    expect(target).toEqual(DATA);
  });
  it("starts over where the server knows no ranges", async () => {
    let calls = 0, counted = 0;
    const target = new Uint8Array(100);
    await download(URL_, target, { fetch: async () => answer(0, ++calls === 1 ? 60 : 100, calls === 1), backoffMs: 1, onBytes: (n) => (counted += n) });
    expect(target).toEqual(DATA);
    expect(counted).toBe(100);
  });
  it.each([{}, { "Content-Range": "bytes 10-99/100" }])("starts over where a partial answer hides its range, or has another: %o", async (headers) => {
    const asked: (string | undefined)[] = [];
    const fetch: FetchLike = async (_, init) => {
      const range = rangeOf(init);
      asked.push(range);
      if (range) return new Response(body(DATA.slice(60), false), { status: 206, headers: headers as Record<string, string> });
      return answer(0, asked.length === 1 ? 60 : 100, asked.length === 1);
    };
    const target = new Uint8Array(100);
    let counted = 0;
    await download(URL_, target, { fetch, backoffMs: 1, onBytes: (n) => (counted += n) });
    expect(target).toEqual(DATA);
    expect(asked).toEqual([undefined, "bytes=60-", undefined]);
    expect(counted).toBe(100);
  });
  it("never asks again for a part, once one could not be used", async () => {
    const asked: (string | undefined)[] = [];
    const fetch: FetchLike = async (_, init) => {
      asked.push(rangeOf(init));
      if (asked.at(-1)) return new Response(body(DATA.slice(60), false), { status: 206 });
      return answer(0, asked.length < 4 ? 60 : 100, asked.length < 4);
    };
    const target = new Uint8Array(100);
    await download(URL_, target, { fetch, backoffMs: 1 });
    expect(target).toEqual(DATA);
    expect(asked).toEqual([undefined, "bytes=60-", undefined, undefined]);
  });
  it("gives up after a bounded number of attempts", async () => {
    let calls = 0;
    const fetch: FetchLike = async () => { calls++; throw new TypeError("Failed to fetch"); };
    await expect(download(URL_, new Uint8Array(100), { fetch, backoffMs: 1, attempts: 3 })).rejects.toThrow(NetworkError);
    expect(calls).toBe(3);
  });
  it("retries a 503 but not a 404", async () => {
    let calls = 0;
    const target = new Uint8Array(100);
    await download(URL_, target, { fetch: async () => (++calls === 1 ? new Response("", { status: 503 }) : answer(0, 100)), backoffMs: 1 });
    expect(calls).toBe(2);
    const missing = download(URL_, target, { fetch: async () => { calls++; return new Response("", { status: 404 }); }, backoffMs: 1 });
    await expect(missing).rejects.toThrow(BundleError);
    expect(calls).toBe(3);
  });
  it("refuses more bytes than the manifest lists", async () => {
    await expect(download(URL_, new Uint8Array(50), { fetch: async () => answer(0, 100) })).rejects.toThrow(IntegrityError);
  });
  it("gives up on a connection that stalls", async () => {
    let calls = 0;
    const fetch: FetchLike = (_, init) => {
      if (++calls > 1) return Promise.resolve(answer(0, 100));
      return new Promise((__, reject) => init.signal!.addEventListener("abort", () => reject(init.signal!.reason)));
    };
    const target = new Uint8Array(100);
    await download(URL_, target, { fetch, backoffMs: 1, stallMs: 20 });
    expect(target).toEqual(DATA);
  });
  it("says that a file on the server is too short", async () => {
    const fetch: FetchLike = async (_, init) => (rangeOf(init) ? new Response(null, { status: 416 }) : answer(0, 60));
    const error = await download(URL_, new Uint8Array(100), { fetch, backoffMs: 1 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(IntegrityError);
    expect((error as Error).message).toBe("w.bin ends after 60 of the 100 bytes that the manifest lists.");
  });
  it("is cancelled at once, also while it waits to retry", async () => {
    const controller = new AbortController();
    const started = performance.now();
    const running = download(URL_, new Uint8Array(100), { fetch: async () => { throw new TypeError("x"); }, backoffMs: 60_000, signal: controller.signal });
    setTimeout(() => controller.abort(), 10);
    const error = await running.catch((e: unknown) => e);
    expect(error).toBeInstanceOf(CancelledError);
    expect(((error as Error).cause as Error).name).toBe("AbortError");
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

describe("source", () => {
  it("resolves a folder's, a manifest's and a queried URL alike", () => {
    for (const url of ["https://x.test/m", "https://x.test/m/", "https://x.test/m/mlcweb.json", "https://x.test/m/?v=1#a"]) {
      expect(resolveBundleUrl(url)).toBe("https://x.test/m/");
    }
    expect(() => resolveBundleUrl("not a url")).toThrow(BundleError);
  });
  it("names a damaged file after asking once more past caches", async () => {
    const modes: unknown[] = [];
    const fetch: FetchLike = async (url, init) => {
      if (url.endsWith("mlcweb.json")) return new Response(JSON.stringify(manifestJson()));
      modes.push(init.cache);
      return new Response(new Uint8Array(10));
    };
    let counted = 0;
    const source = await Source.open("https://x.test/m", { fetch, onBytes: (n) => (counted += n) });
    const manifest = await source.manifest();
    const error = await source.file(manifest, "m.wasm").catch((e: unknown) => e);
    expect(error).toBeInstanceOf(IntegrityError);
    expect((error as IntegrityError).file).toBe("m.wasm");
    expect(modes).toEqual(["default", "reload"]);
    expect(counted).toBe(0);
  });
  it("leaves the browser's HTTP cache alone while the Cache API keeps the files", async () => {
    let full = false;
    const cache = { match: async () => undefined, put: async () => { if (full) throw new DOMException("full", "QuotaExceededError"); }, delete: async () => true };
    vi.stubGlobal("caches", { open: async () => cache });
    try {
      const modes: unknown[] = [], warnings: string[] = [];
      const fetch: FetchLike = async (url, init) => {
        if (url.endsWith("mlcweb.json")) return new Response(JSON.stringify(manifest));
        modes.push(init.cache);
        return new Response(DATA);
      };
      const manifest = manifestJson();
      const sha256 = [...new Uint8Array(await crypto.subtle.digest("SHA-256", DATA))].map((b) => b.toString(16).padStart(2, "0")).join("");
      Object.assign(manifest.files["m.wasm"]!, { bytes: DATA.length, sha256 });
      const source = await Source.open("https://x.test/m", { fetch, onWarning: ({ code }) => warnings.push(code) });
      const parsed = await source.manifest();
      await source.file(parsed, "m.wasm");
      full = true;
      await source.file(parsed, "m.wasm");
      await source.file(parsed, "m.wasm");
      expect(modes).toEqual(["no-store", "no-store", "default"]);
      expect(warnings).toEqual(["storage-full"]);
    } finally {
      vi.unstubAllGlobals();
    }
  });
  it("says when there is no bundle at the URL", async () => {
    const source = await Source.open("https://x.test/m", { fetch: async () => new Response("", { status: 404 }) });
    await expect(source.manifest()).rejects.toThrow(/There is no bundle at https:\/\/x.test\/m\//);
  });
});
