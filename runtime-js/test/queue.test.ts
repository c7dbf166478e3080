import { describe, expect, it } from "vitest";
import { inTurn, Queue } from "../src/chat/index.js";
import { CancelledError, UnloadedError } from "../src/errors.js";

describe("queue", () => {
  it("lets requests in one by one, in order, but one that is to be first", async () => {
    const queue = new Queue();
    const order: string[] = [];
    const first = await queue.enter();
    const others = ["b", "c", "reset"].map(async (name) => {
      const turn = await queue.enter(undefined, name === "reset");
      order.push(name);
      turn.leave();
    });
    await Promise.resolve();
    expect(order).toEqual([]);
    first.leave();
    first.leave(); // once is enough
    await Promise.all(others);
    expect(order).toEqual(["reset", "b", "c"]);
  });
  it("a cancelled wait gives up its place", async () => {
    const queue = new Queue();
    const first = await queue.enter();
    const controller = new AbortController();
    const second = queue.enter(controller.signal);
    const third = queue.enter();
    controller.abort();
    await expect(second).rejects.toThrow(CancelledError);
    await expect(queue.enter(controller.signal)).rejects.toThrow(CancelledError);
    first.leave();
    (await third).leave();
  });
  it("closed, is closed to all", async () => {
    const queue = new Queue();
    await queue.enter();
    const waiting = queue.enter();
    queue.close(new UnloadedError());
    await expect(waiting).rejects.toThrow(UnloadedError);
    await expect(queue.enter()).rejects.toThrow(UnloadedError);
  });
});

describe("a turn", () => {
  /** Counts up until it is interrupted, and says when it has ended. */
  const counting = (queue: Queue, ended: string[], name: string, signal?: AbortSignal) =>
    inTurn(queue, signal, async function* (turn): AsyncGenerator<number, string, void> {
      try {
        for (let i = 0; ; i++) {
          yield i;
          if (signal?.aborted) throw new CancelledError();
          if (turn.interrupted) return "interrupted";
        }
      } finally {
        ended.push(name);
      }
    });
  it("begins when it is read", async () => {
    const queue = new Queue();
    counting(queue, [], "never read");
    (await queue.enter()).leave();
  });
  it("gives items in order to who reads while it ends, and its result once", async () => {
    const queue = new Queue(),
      ended: string[] = [];
    const run = counting(queue, ended, "a");
    expect(await run.next()).toEqual({ done: false, value: 0 });
    const reading = [run.next(), run.next()];
    queue.interrupt();
    queue.interrupt();
    const read = await Promise.all([...reading, run.next(), run.next()]);
    expect(read.map(({ done, value }) => (done ? value : typeof value))).toEqual([
      "number",
      "interrupted",
      undefined,
      undefined,
    ]);
    expect(ended).toEqual(["a"]);
  });
  it("that was left ends by an error for good, which its reader hears", async () => {
    const queue = new Queue(),
      ended: string[] = [];
    const run = counting(queue, ended, "a");
    await run.next();
    queue.close(new UnloadedError());
    await expect(run.next()).rejects.toThrow(UnloadedError);
    expect(ended).toEqual(["a"]);
  });
  it("can be left by the iterator's own way out", async () => {
    const queue = new Queue(),
      ended: string[] = [];
    for await (const value of counting(queue, ended, "a")) if (value === 2) break;
    expect(ended).toEqual(["a"]);
    (await queue.enter()).leave();
  });
});
