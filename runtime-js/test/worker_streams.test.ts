// Tests streams between a page and a worker: order, how far the worker runs ahead, leaving, failing, and many at once.
import { describe, expect, it } from "vitest";
import { CancelledError, DeviceLostError } from "../src/errors.js";
import { type CallContext, dialTo, type Methods, type RemoteStream } from "../src/worker/index.js";
import { AHEAD } from "../src/worker/remote_stream.js";
import { connect, FakeWorker, pause, settled } from "./worker_pair.js";

const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

/** Counts, and notes what is made and what ended. */
function counting() {
  const seen = { made: 0, ended: 0, messages: 0 };
  async function* count(_: CallContext, to: number, from = 0): AsyncGenerator<number, string, void> {
    try {
      for (let i = from; i < to; i++) {
        await tick();
        seen.made++;
        yield i;
      }
      return "all";
    } finally {
      seen.ended++;
    }
  }
  const methods: Methods = {
    count,
    promised: async (context, to) => count(context, to),
    breaks: async function* () {
      yield 1;
      throw new DeviceLostError("gone");
    },
    bad: async function* () {
      yield () => {};
    },
    throws: () => {
      throw new DeviceLostError("at once");
    },
  };
  return { seen, methods };
}

const all = async <T>(stream: AsyncIterable<T>): Promise<T[]> => {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
};
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
type Numbers = RemoteStream<number, string>;

describe("a stream", () => {
  it("has all items in order, and the value at its end", async () => {
    const page = await connect(new FakeWorker(counting().methods));
    expect(await all((await page.call("count", 100)) as Numbers)).toEqual(upTo(100));
    const stream = (await page.call("promised", 2)) as Numbers;
    const results = [stream.next(), stream.next(), stream.next(), stream.next()];
    expect(await Promise.all(results)).toEqual([
      { done: false, value: 0 },
      { done: false, value: 1 },
      { done: true, value: "all" },
      { done: true, value: undefined },
    ]);
  });

  it("begins when it is read", async () => {
    const { seen, methods } = counting();
    const page = await connect(new FakeWorker(methods));
    const stream = (await page.call("count", 3)) as Numbers;
    await pause();
    expect(seen.made).toBe(0);
    expect(await all(stream)).toEqual(upTo(3));
  });

  it("is made only so far ahead of who reads it, and then goes on", async () => {
    const { seen, methods } = counting();
    const page = await connect(new FakeWorker(methods));
    const stream = (await page.call("count", 10 * AHEAD)) as Numbers;
    let read = 0;
    for await (const item of stream) {
      expect(item).toBe(read++);
      if (read % AHEAD || read === 10 * AHEAD) continue;
      await pause(100);
      expect(seen.made - read).toBeLessThanOrEqual(AHEAD);
      expect(seen.made).toBeGreaterThan(read); // it uses the time
    }
    expect(read).toBe(10 * AHEAD);
  });

  it("comes several items in a message where the page is slow, and one by one where it waits", async () => {
    const { methods } = counting();
    const worker = new FakeWorker(methods);
    const page = await connect(worker);
    let messages = 0;
    const session = [...worker.sessions][0] as unknown as { wire: { post(message: { kind: string }): void } };
    const { post } = session.wire;
    session.wire.post = (message) => {
      if (message.kind === "items") messages++;
      post.call(session.wire, message);
    };
    expect(await all((await page.call("count", 60)) as Numbers)).toEqual(upTo(60));
    expect(messages).toBeGreaterThan(50);
    messages = 0;
    for await (const _ of (await page.call("count", 60)) as Numbers) await pause(20);
    expect(messages).toBeLessThan(20);
  });

  it("is not held up by its page, where others must not wait for it", async () => {
    const { seen, methods } = counting();
    let others = false;
    const worker = new FakeWorker(methods, { unbounded: () => others });
    const page = await connect(worker);
    const stream = (await page.call("count", 3 * AHEAD)) as Numbers;
    await stream.next();
    await pause(150);
    expect(seen).toMatchObject({ made: AHEAD, ended: 0 });
    others = true;
    for (const session of worker.sessions) session.wake();
    await pause(200);
    expect(seen).toMatchObject({ made: 3 * AHEAD, ended: 1 });
    expect(await all(stream)).toEqual(upTo(3 * AHEAD).slice(1));
  });

  it("that is left ends in the worker", async () => {
    const { seen, methods } = counting();
    const worker = new FakeWorker(methods);
    const page = await connect(worker);
    for await (const item of (await page.call("count", 1e6)) as Numbers) if (item === 3) break;
    await pause();
    expect(seen.ended).toBe(1);
    const stream = (await page.call("count", 1e6)) as Numbers;
    await stream.next();
    expect(await stream.return("mine")).toEqual({ done: true, value: "mine" });
    expect((await stream.next()).done).toBe(true);
    await pause();
    expect([seen.ended, [...worker.sessions][0]!.signals.size]).toEqual([2, 0]);
  });

  it("that fails gives what came before, and the error once", async () => {
    const page = await connect(new FakeWorker(counting().methods));
    const stream = (await page.call("breaks")) as Numbers;
    expect(await stream.next()).toEqual({ done: false, value: 1 });
    await expect(stream.next()).rejects.toThrow(DeviceLostError);
    expect((await stream.next()).done).toBe(true);
    await expect(page.call("throws")).rejects.toThrow(DeviceLostError);
    const bad = (await page.call("bad")) as Numbers;
    await expect(bad.next()).rejects.toMatchObject({ code: "invalid-request" });
  });

  it("is cancelled by its signal, at once", async () => {
    const { seen, methods } = counting();
    const stop = new AbortController();
    const withSignal: Methods = { ...methods, count: (c, { to }: { to: number }) => methods.count!(c, to) };
    const page = await connect(new FakeWorker(withSignal));
    const stream = (await page.call("count", { to: 1e6, signal: stop.signal })) as Numbers;
    await stream.next();
    stop.abort(new Error("enough"));
    await expect(stream.next()).rejects.toMatchObject({ code: "cancelled", cause: { message: "enough" } });
    expect((await stream.next()).done).toBe(true);
    await pause();
    expect(seen.ended).toBe(1);
    const late = (await page.call("count", { to: 9, signal: AbortSignal.abort() })) as Numbers;
    await expect(late.next()).rejects.toThrow(CancelledError);
  });
});

it("a page that goes ends its streams, and no others", async () => {
  const { seen, methods } = counting();
  const worker = new FakeWorker(methods);
  const [one, two] = [await connect(worker), await connect(worker)];
  const left = (await one.call("count", 1e6)) as Numbers;
  await left.next();
  const stays = all((await two.call("count", 60)) as Numbers);
  one.close(new CancelledError());
  expect(await stays).toEqual(upTo(60));
  await pause();
  expect([seen.ended, worker.sessions.size]).toEqual([2, 1]);
  await expect(left.next()).rejects.toThrow(CancelledError);
});

describe("when a worker is made again", () => {
  async function again() {
    const workers: FakeWorker[] = [];
    const page = await connect(
      dialTo(() => {
        workers.push(new FakeWorker(counting().methods));
        return workers.at(-1)!.port;
      }),
    );
    const die = (): void => {
      for (const session of workers.at(-1)!.sessions) (session as unknown as { wire: { close(): void } }).wire.close();
    };
    return { page, die, workers };
  }

  it("a stream of which nothing came begins again", async () => {
    const { page, die, workers } = await again();
    const stream = (await page.call("count", 3)) as Numbers;
    die();
    await settled(pause());
    expect(await all(stream)).toEqual(upTo(3));
    const waiting = (await page.call("count", 3)) as Numbers;
    const first = waiting.next();
    die();
    expect(await first).toEqual({ done: false, value: 0 });
    expect(await all(waiting)).toEqual([1, 2]);
    expect(workers.length).toBe(3);
  });

  it("a stream under way ends with WorkerError", async () => {
    const { page, die } = await again();
    const stream = (await page.call("count", 1e6)) as Numbers;
    await stream.next();
    die();
    const rest = async (): Promise<void> => {
      for await (const _ of stream);
    };
    await expect(rest()).rejects.toMatchObject({ code: "worker" });
    expect(await all((await page.call("count", 3)) as Numbers)).toEqual(upTo(3));
  });
});

it("a hundred streams at once, of which some are cancelled, mix nothing and leave nothing", async () => {
  const { seen, methods } = counting();
  const worker = new FakeWorker({ ...methods, count: (c, { from, to }) => methods.count!(c, to, from) });
  const page = await connect(worker);
  const random = mulberry(7);
  const one = async (n: number): Promise<boolean> => {
    const stop = new AbortController();
    const after = random() < 0.5 ? Math.floor(random() * 40) : Infinity;
    let read = 0;
    try {
      const request = { from: 1000 * n, to: 1000 * n + 40, signal: stop.signal };
      for await (const item of (await page.call("count", request)) as Numbers) {
        expect(item).toBe(1000 * n + read++);
        if (read > after) stop.abort();
        if (random() < 0.2) await pause(5);
      }
      expect(read).toBe(40);
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(CancelledError);
      expect(read).toBe(after + 1);
      return false;
    }
  };
  const ended = await Promise.all(upTo(100).map(one));
  expect(ended.filter(Boolean).length).toBeGreaterThan(20);
  expect(ended.filter((whole) => !whole).length).toBeGreaterThan(20);
  await pause();
  expect(seen.ended).toBe(100);
  expect([...worker.sessions][0]!.signals.size).toBe(0);
});

function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
