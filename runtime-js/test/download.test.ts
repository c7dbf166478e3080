import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { download, type FetchLike } from "../src/bundle/index.js";
import { BundleError, CancelledError, IntegrityError, NetworkError, WebPageError } from "../src/errors.js";

const DATA = Uint8Array.from({ length: 100 }, (_, i) => i);
const URL_ = "https://cdn.test/m/w.bin";

/** A body that gives the bytes in pieces and then ends, or breaks. */
function body(bytes: Uint8Array, breaks: boolean, piece = 30): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at < bytes.length) {
        controller.enqueue(bytes.slice(at, at + piece));
        at += piece;
      } else if (breaks) controller.error(new TypeError("network error"));
      else controller.close();
    },
  });
}
const answer = (start: number, end: number, breaks = false): Response =>
  new Response(
    body(DATA.slice(start, end), breaks),
    start ? { status: 206, headers: { "Content-Range": `bytes ${start}-99/100` } } : { status: 200 },
  );
const rangeOf = (init: RequestInit): string | undefined => (init.headers as Record<string, string>).Range;

describe("download", () => {
  it("resumes with Range where the connection dropped", async () => {
    const asked: (string | undefined)[] = [];
    const fetch: FetchLike = async (_, init) => {
      asked.push(rangeOf(init));
      return asked.length === 1 ? answer(0, 60, true) : answer(60, 100);
    };
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
    await download(URL_, target, {
      fetch: async () => (++calls === 1 ? answer(0, 90) : answer(90, 100)),
      backoffMs: 1,
    });
    expect(target).toEqual(DATA);
  });
  it("starts over where the server knows no ranges", async () => {
    let calls = 0,
      counted = 0;
    const target = new Uint8Array(100);
    await download(URL_, target, {
      fetch: async () => answer(0, ++calls === 1 ? 60 : 100, calls === 1),
      backoffMs: 1,
      onBytes: (n) => (counted += n),
    });
    expect(target).toEqual(DATA);
    expect(counted).toBe(100);
  });
  it.each([{}, { "Content-Range": "bytes 10-99/100" }])(
    "starts over where a partial answer hides its range, or has another: %o",
    async (headers) => {
      const asked: (string | undefined)[] = [];
      const fetch: FetchLike = async (_, init) => {
        const range = rangeOf(init);
        asked.push(range);
        if (range)
          return new Response(body(DATA.slice(60), false), { status: 206, headers: headers as Record<string, string> });
        return answer(0, asked.length === 1 ? 60 : 100, asked.length === 1);
      };
      const target = new Uint8Array(100);
      let counted = 0;
      await download(URL_, target, { fetch, backoffMs: 1, onBytes: (n) => (counted += n) });
      expect(target).toEqual(DATA);
      expect(asked).toEqual([undefined, "bytes=60-", undefined]);
      expect(counted).toBe(100);
    },
  );
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
    const fetch: FetchLike = async () => {
      calls++;
      throw new TypeError("Failed to fetch");
    };
    await expect(download(URL_, new Uint8Array(100), { fetch, backoffMs: 1, attempts: 3 })).rejects.toThrow(
      NetworkError,
    );
    expect(calls).toBe(3);
  });
  it("retries a 503 but not a 404", async () => {
    let calls = 0;
    const target = new Uint8Array(100);
    await download(URL_, target, {
      fetch: async () => (++calls === 1 ? new Response("", { status: 503 }) : answer(0, 100)),
      backoffMs: 1,
    });
    expect(calls).toBe(2);
    const missing = download(URL_, target, {
      fetch: async () => {
        calls++;
        return new Response("", { status: 404 });
      },
      backoffMs: 1,
    });
    await expect(missing).rejects.toThrow(BundleError);
    expect(calls).toBe(3);
  });
  it.each([408, 425, 429, 500, 503])("asks again after a %d", async (status) => {
    let calls = 0;
    const target = new Uint8Array(100);
    await download(URL_, target, {
      fetch: async () => (++calls < 3 ? new Response("", { status }) : answer(0, 100)),
      backoffMs: 1,
    });
    expect([target, calls]).toEqual([DATA, 3]);
    const failed = download(URL_, target, {
      fetch: async () => {
        calls++;
        return new Response("", { status });
      },
      backoffMs: 1,
      attempts: 2,
    });
    await expect(failed).rejects.toThrow(new NetworkError(`w.bin: the server answered ${status}.`));
    expect(calls).toBe(5);
  });
  it.each([400, 401, 403, 407, 451])("does not ask again after a %d", async (status) => {
    let calls = 0;
    const refused = download(URL_, new Uint8Array(100), {
      fetch: async () => {
        calls++;
        return new Response("", { status });
      },
    });
    await expect(refused).rejects.toMatchObject({
      code: "bundle",
      message: `w.bin: the server answered ${status}.`,
      hint: expect.stringContaining("expired") as string,
    });
    expect(calls).toBe(1);
  });
  describe("asked to wait", () => {
    beforeEach(() => {
      vi.useFakeTimers({ now: Date.UTC(2026, 10, 28, 12) });
    });
    afterEach(() => {
      vi.useRealTimers();
    });
    const later = (after: string, more: Record<string, string> = {}): Response =>
      new Response("", { status: 429, headers: { "Retry-After": after, ...more } });
    /** Milliseconds between the two requests of a download that was told to wait, or the error. */
    async function waited(first: Response): Promise<unknown> {
      const at: number[] = [];
      const running = download(URL_, new Uint8Array(100), {
        fetch: async () => {
          at.push(Date.now());
          return at.length === 1 ? first : answer(0, 100);
        },
        backoffMs: 100,
      }).then(
        () => at[1]! - at[0]!,
        (e: unknown) => e,
      );
      await vi.runAllTimersAsync();
      return running;
    }
    it.each([
      ["seconds", later("7"), 7000],
      ["none", later("0"), 100],
      ["a date", later("Sat, 28 Nov 2026 12:00:20 GMT"), 20_000],
      ["a date of the past", later("Sat, 28 Nov 2026 11:00:00 GMT"), 100],
      [
        "a date by the server's clock",
        later("Sat, 28 Nov 2026 13:00:05 GMT", { Date: "Sat, 28 Nov 2026 13:00:00 GMT" }),
        5000,
      ],
      ["nonsense", later("soon"), 100],
      ["more than a number holds", later("9".repeat(400)), 100],
      ["less than nothing", later("-5"), 100],
      ["as long as it may", later("30"), 30_000],
    ])("%s, it does", async (_, first, ms) => {
      expect(await waited(first)).toBe(ms);
    });
    it.each(["31", "86400", "Sun, 29 Nov 2026 12:00:00 GMT"])("for long (%s), it says so instead", async (after) => {
      const error = await waited(later(after));
      expect(error).toMatchObject({
        code: "network",
        message: expect.stringMatching(/^w\.bin: the server answered 429, and asks to wait \d+ s\.$/) as string,
      });
      expect((error as NetworkError).retryAfter).toBeGreaterThan(30);
      expect(Date.now()).toBe(Date.UTC(2026, 10, 28, 12));
    });
    it("it can be cancelled meanwhile", async () => {
      const controller = new AbortController();
      const running = download(URL_, new Uint8Array(100), {
        fetch: async () => later("20"),
        signal: controller.signal,
      }).catch((e: unknown) => e);
      await vi.advanceTimersByTimeAsync(1000);
      controller.abort();
      expect(await running).toBeInstanceOf(CancelledError);
      expect(vi.getTimerCount()).toBe(0);
    });
  });
  describe("a web page", () => {
    const html =
      (text: string, type = "text/html; charset=utf-8"): FetchLike =>
      async () =>
        new Response(text, { headers: { "Content-Type": type } });
    const short = "<!doctype html>Log in",
      long = `\n  <html>${"x".repeat(200)}</html>`;
    it.each([
      ["that is short", html(short)],
      ["that is long", html(long)],
      ["without its type", html(short, "application/octet-stream")],
      ["that is long, without its type", html(long, "")],
      ["without markup", html("Log in", "text/html")],
      ["of nothing", html("", "application/xhtml+xml")],
      ["by its status", async () => new Response(short, { status: 511 })],
    ])("%s is told at once", async (_, fetch) => {
      let calls = 0;
      const error = await download(URL_, new Uint8Array(100), {
        fetch: (...asked) => {
          calls++;
          return fetch(...asked);
        },
        backoffMs: 60_000,
      }).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(WebPageError);
      expect(error).toMatchObject({
        code: "web-page",
        file: "w.bin",
        message: expect.stringMatching(/^A web page came in place of w\.bin( \(.*, beginning .*\))?\.$/s) as string,
      });
      expect(calls).toBe(1);
    });
    it("is not what has another type than it should, or begins as one", async () => {
      const file = new TextEncoder().encode("<a file of its own>");
      for (const type of ["text/html", ""]) {
        const target = new Uint8Array(file.length);
        await download(URL_, target, { fetch: async () => new Response(file, { headers: { "Content-Type": type } }) });
        expect(target).toEqual(file);
      }
    });
    it("in the middle of a download is told too", async () => {
      let calls = 0;
      const fetch: FetchLike = async (...asked) => (++calls === 1 ? answer(0, 60, true) : html(short)(...asked));
      await expect(download(URL_, new Uint8Array(100), { fetch, backoffMs: 1 })).rejects.toThrow(WebPageError);
    });
  });
  it("refuses more bytes than the manifest lists", async () => {
    await expect(download(URL_, new Uint8Array(50), { fetch: async () => answer(0, 100) })).rejects.toThrow(
      IntegrityError,
    );
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
    const running = download(URL_, new Uint8Array(100), {
      fetch: async () => {
        throw new TypeError("x");
      },
      backoffMs: 60_000,
      signal: controller.signal,
    });
    setTimeout(() => controller.abort(), 10);
    const error = await running.catch((e: unknown) => e);
    expect(error).toBeInstanceOf(CancelledError);
    expect(((error as Error).cause as Error).name).toBe("AbortError");
    expect(performance.now() - started).toBeLessThan(1000);
  });
});
