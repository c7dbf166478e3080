// What hosts and CDNs do wrong, for each kind of file: the error says which file, what came, and what to set.
import { describe, expect, it } from "vitest";
import { type FetchLike, Source, type Warning } from "../src/bundle/index.js";
import { readCatalog } from "../src/catalog/read.js";
import { MlcwebError } from "../src/errors.js";
import { manifest, manifestJson } from "./sample.js";

const BASE = "https://cdn.test/m/";
const DATA = Uint8Array.from({ length: 100 }, (_, i) => i);
const { tokenizer, wasm, chunks, tiers } = manifest();
const { sha256 } = manifest().files.get(wasm)!;
const FILES = { weights: chunks[0]!, tokenizer: tokenizer.tokenizer, wasm, kernels: tiers[0]!.kernels };
/** Each of these files is DATA. */
const LISTED = { ...manifest(), files: new Map(Object.values(FILES).map((name) => [name, { bytes: 100, sha256 }])) };
const JSON_ = new TextEncoder().encode(JSON.stringify(manifestJson()));
const gzip = async (bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> =>
  new Uint8Array(
    await new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer(),
  );
/** A zstd frame of this many bytes, as far as its magic number. */
const zstd = (length: number): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(length);
  bytes.set([0x28, 0xb5, 0x2f, 0xfd]);
  return bytes;
};
const page = '<!DOCTYPE html><title>My "app"</title>';
const html = (): Response => new Response(page, { headers: { "Content-Type": "text/html; charset=utf-8" } });

/** A body that breaks after these bytes, as a browser tells of it. */
function broken(bytes: Uint8Array): Response {
  let sent = false;
  const body = new ReadableStream({
    pull(controller) {
      if (sent) controller.error(new TypeError("network error"));
      else if (bytes.length > 0) controller.enqueue(bytes);
      sent = true;
    },
  });
  return new Response(body);
}

/** What a load tells when one file is answered so; how often it was asked for. */
async function met(file: string, answer: (whole: Uint8Array<ArrayBuffer>, init: RequestInit) => Response) {
  let asked = 0;
  const fetch: FetchLike = async (url, init) => {
    const name = url.slice(BASE.length);
    const whole = name === "mlcweb.json" ? JSON_ : DATA;
    if (name !== file) return new Response(whole);
    asked++;
    return answer(whole, init);
  };
  const source = await Source.open(BASE, { fetch, cache: false, backoffMs: 1 });
  const work = file === "mlcweb.json" ? source.manifest() : source.file(LISTED, file);
  const error: unknown = await work.catch((e: unknown) => e);
  expect(error).toBeInstanceOf(MlcwebError);
  const { code, message, hint } = error as MlcwebError;
  expect(message).toContain(file);
  return { code, message, hint, asked };
}

describe.each(Object.entries(FILES))("in place of the %s", (_, file) => {
  it("a page of status 200", async () => {
    const { code, message, hint, asked } = await met(file, html);
    expect([code, asked]).toEqual(["web-page", 2]);
    expect(message).toContain('(text/html; charset=utf-8, beginning "<!DOCTYPE html>');
    expect(hint).toContain("answer 404");
  });
  it("nothing, since the manifest is an old one", async () => {
    const { code, message, hint } = await met(file, () => new Response("", { status: 404 }));
    expect([code, message]).toEqual(["bundle", `${file} is missing: the server answered 404.`]);
    expect(hint).toMatch(/a CDN keeps an old mlcweb\.json.*Cache-Control: no-cache/);
  });
  it("what is still compressed", async () => {
    const noise = Uint8Array.from({ length: 5000 }, (_, i) => (i * i) % 251);
    const answers = {
      gzip: [await gzip(noise), await gzip(new Uint8Array(9))],
      zstd: [zstd(5000), zstd(9), zstd(100)],
    };
    for (const [kind, all] of Object.entries(answers))
      for (const bytes of all) {
        const { code, message, hint, asked } = await met(file, () => new Response(bytes));
        expect([code, asked]).toEqual(["integrity", 2]);
        expect(message).toContain(`came compressed: it is still ${kind}`);
        expect(hint).toContain(`Content-Encoding: ${kind}`);
      }
  });
  it("a file that is cut, with a length that says so", async () => {
    const { code, message, hint, asked } = await met(file, (whole) => {
      return new Response(whole.slice(0, 60), { headers: { "Content-Length": "60" } });
    });
    expect([code, asked]).toEqual(["integrity", 2]);
    expect(message).toBe(`${file} ends after 60 of the 100 bytes that the manifest lists.`);
    expect(hint).toContain("purge the CDN");
  });
  it.each([
    ["a body that always breaks", (whole: Uint8Array) => broken(whole.slice(0, 60)), 60],
    [
      "a body that ends early, of unknown length",
      (whole: Uint8Array<ArrayBuffer>) => new Response(whole.slice(0, 60)),
      60,
    ],
    ["a body that cannot be decoded", () => broken(new Uint8Array()), 0],
  ])("%s", async (__, answer, received) => {
    const { code, message, hint, asked } = await met(file, answer);
    expect([code, asked]).toEqual(["network", 5]);
    expect(message).toBe(`${file}: the connection broke after ${received} of 100 bytes.`);
    expect(hint).toMatch(/Content-Length.*Content-Encoding/);
  });
  it("another build's file", async () => {
    const longer = await met(file, () => new Response("x".repeat(101), { headers: { "Content-Type": "text/plain" } }));
    expect(longer.message).toMatch(/is longer than the 100 bytes .* \(text\/plain, beginning "x+"\)\.$/);
    const binary = await met(file, () => new Response(new Uint8Array(101).fill(7)));
    expect(binary.message).toContain("(no content type, beginning 07 07 07");
    const other = await met(file, () => new Response(new Uint8Array(100)));
    expect([longer.code, binary.code, other.code]).toEqual(["integrity", "integrity", "integrity"]);
    expect(other.message).toContain("its sha256 is not the one in the manifest");
    expect(other.hint).toContain("mlcweb check-host");
  });
  it("a wrong copy of a cache's, and the right one past it", async () => {
    for (const wrong of [
      html(),
      new Response(await gzip(DATA)),
      new Response(DATA.slice(0, 60), { headers: { "Content-Length": "60" } }),
    ]) {
      const fetch: FetchLike = async (url, { cache }) =>
        new Response(
          url.endsWith("mlcweb.json") ? JSON_ : cache === "reload" ? DATA : await wrong.clone().arrayBuffer(),
          wrong,
        );
      const source = await Source.open(BASE, { fetch, cache: false, backoffMs: 1 });
      expect(await source.file(LISTED, file)).toEqual(DATA);
    }
  });
});

describe("in place of the manifest", () => {
  const file = "mlcweb.json";
  it("a page", async () => {
    const { code, message, hint } = await met(file, html);
    expect([code, message]).toEqual(["web-page", expect.stringContaining("beginning") as string]);
    expect(hint).toContain("answer 404");
  });
  it("what is still compressed", async () => {
    const bytes = await gzip(JSON_);
    const { code, message } = await met(file, () => new Response(bytes));
    expect([code, message]).toEqual(["integrity", expect.stringContaining("still gzip") as string]);
  });
  it("a part of it", async () => {
    const { code, message, hint } = await met(file, (whole) => new Response(whole.slice(0, 60)));
    expect([code, message]).toEqual([
      "bundle",
      "mlcweb.json is cut off or damaged: its 60 characters are not whole JSON.",
    ]);
    expect(hint).toContain("check-host");
  });
  it("a body that always breaks", async () => {
    const { code, message, asked } = await met(file, (whole) => broken(whole.slice(0, 60)));
    expect([code, message, asked]).toEqual(["network", "mlcweb.json: the connection broke after 60 bytes.", 3]);
  });
  it("a text", async () => {
    const { code, message } = await met(file, () => new Response("Not found"));
    expect([code, message]).toEqual(["bundle", 'mlcweb.json is not JSON, but begins "Not found".']);
  });
});

describe("a catalog", () => {
  const hash = async (bytes: Uint8Array<ArrayBuffer>): Promise<string> =>
    Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (b) =>
      b.toString(16).padStart(2, "0"),
    ).join("");

  it("that lists another manifest is told of, and the load goes on", async () => {
    const told = async (sha256: string): Promise<Warning[]> => {
      const warnings: Warning[] = [];
      const fetch: FetchLike = async () => new Response(JSON_);
      const onWarning = (warning: Warning): unknown => warnings.push(warning);
      const source = await Source.open(`${BASE}#sha256=${sha256}`, { fetch, cache: false, onWarning });
      expect(source.base).toBe(BASE);
      expect((await source.manifest()).name).toBe(manifest().name);
      return warnings;
    };
    expect(await told(await hash(JSON_))).toEqual([]);
    expect(await told("0".repeat(64))).toEqual([
      { code: "stale", message: expect.stringMatching(/catalog.*old copy.*Cache-Control: no-cache/) as string },
    ]);
  });
  it.each([
    ["web-page", html],
    ["integrity", () => new Response(zstd(100))],
    ["network", () => broken(new Uint8Array(9))],
  ] as const)("is named where it fails: %s", async (code, answer) => {
    const error = await readCatalog(BASE, { fetch: async () => answer(), cache: false, backoffMs: 1 }).catch(
      (e: unknown) => e,
    );
    expect(error).toMatchObject({ code, message: expect.stringContaining("catalog.json") as string });
  });
});

describe("a host that cannot be read", () => {
  it("may forbid other origins", async () => {
    const fetch: FetchLike = async () => {
      throw new TypeError("Failed to fetch");
    };
    const source = await Source.open(BASE, { fetch, cache: false, backoffMs: 1 });
    await expect(source.manifest()).rejects.toMatchObject({
      code: "network",
      hint: expect.stringContaining("Access-Control-Allow-Origin") as string,
    });
  });
});
