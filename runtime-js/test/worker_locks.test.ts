// Tests that a page or a worker that ends without a word is noticed by the lock it held.
import { afterEach, expect, it, vi } from "vitest";
import { dialTo } from "../src/worker/index.js";
import { holdLock, watchLock } from "../src/worker/locks.js";
import { FakeWorker, pause } from "./worker_pair.js";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

/** The browser's locks, as far as they are used; `end` releases one as the browser does for who is gone. */
function stubLocks() {
  const held = new Map<string, () => void>();
  const waiting: { name: string; go: () => unknown; signal: AbortSignal | undefined }[] = [];
  const end = (name: string): void => {
    held.delete(name);
    for (const { go } of waiting.filter((one) => one.name === name && !one.signal?.aborted)) go();
  };
  const locks = {
    query: async () => ({ held: [...held.keys()].map((name) => ({ name })) }),
    async request(name: string, ...rest: unknown[]): Promise<void> {
      const go = rest.at(-1) as () => unknown;
      const { signal } = (rest.length > 1 ? rest[0] : {}) as { signal?: AbortSignal };
      if (held.has(name)) return void waiting.push({ name, go, signal });
      held.set(name, () => {});
      await go();
      end(name);
    },
  };
  vi.stubGlobal("navigator", { locks });
  return { held, waiting, end };
}

it("a lock is watched until its holder is gone, or lets it go", async () => {
  const { end } = stubLocks();
  const [one, two] = [(await holdLock())!, (await holdLock())!];
  const gone: string[] = [];
  const watching = new AbortController();
  for (const { name } of [one, two]) expect(await watchLock(name, () => gone.push(name), watching.signal)).toBe(true);
  expect(gone).toEqual([]);
  end(one.name);
  expect(gone).toEqual([one.name]);
  two.release();
  await pause(1);
  expect(gone).toEqual([one.name, two.name]);
});

it("a lock that nobody holds here says nothing of its holder", async () => {
  stubLocks();
  const gone = vi.fn();
  expect(await watchLock("of another origin", gone, new AbortController().signal)).toBe(false);
  await pause();
  expect(gone).not.toHaveBeenCalled();
  vi.stubGlobal("navigator", {});
  expect(await holdLock()).toBeUndefined();
  const refused = { request: async () => Promise.reject(new DOMException("no origin", "SecurityError")) };
  vi.stubGlobal("navigator", { locks: { ...refused, query: refused.request } });
  expect(await holdLock()).toBeUndefined();
  expect(await watchLock("any", gone, new AbortController().signal)).toBe(false);
});

it("a worker and a page whose locks are released are gone", async () => {
  const { held, end, waiting } = stubLocks();
  const { Connection } = await import("../src/worker/connection.js"); // holds its locks anew
  const worker = new FakeWorker({ waits: () => new Promise(() => {}) });
  const open = () => Connection.open(dialTo(worker.port), { service: "test" });
  const page = await open();
  expect(waiting.length).toBe(2); // each watches the other
  const [pages, workers] = [...held.keys()];
  const running = page.call("waits");
  end(workers!);
  await expect(running).rejects.toMatchObject({ code: "worker", message: expect.stringMatching(/it has ended/) });
  await open();
  expect(worker.sessions.size).toBe(1);
  end(pages!);
  expect(worker.sessions.size).toBe(0);
});
