// Tests calls, callbacks, signals and errors between a page and a worker, on methods that have nothing to do with
// engines.
import { afterEach, describe, expect, it, vi } from "vitest";
import * as errors from "../src/errors.js";
import { errorFromJson, errorToJson } from "../src/worker/error_json.js";
import {
  type CallContext,
  Connection,
  dialTo,
  listen,
  type Methods,
  portWire,
  type Session,
  serve,
} from "../src/worker/index.js";
import { fromJson, toJson } from "../src/worker/plain.js";
import { readMessage } from "../src/worker/protocol.js";
import { connect, extensionPorts, FakeWorker, pause, settled } from "./worker_pair.js";

const {
  BundleError,
  CancelledError,
  ContextLengthError,
  InvalidRequestError,
  MissingFeatureError,
  MlcwebError,
  NetworkError,
  UnloadedError,
  WorkerError,
} = errors;

/** Rejects when its signal fires. */
const waits = (_: CallContext, { signal }: { signal: AbortSignal }): Promise<never> =>
  new Promise((__, reject) => {
    const stop = (): void => reject(new CancelledError("stopped", signal.reason));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
  });
const methods: Methods = {
  echo: (_, ...args) => args,
  fails: () => {
    throw new ContextLengthError(9, 8);
  },
  waits,
  tells: (_, { onNews }: { onNews: (news: unknown) => void }) => {
    onNews({ a: 1 });
    return "told";
  },
  gives: () => () => {},
  nothing: () => {},
};

describe("an error", () => {
  it.each([
    new BundleError("b", "h", { cause: new TypeError("t") }),
    new CancelledError(),
    new ContextLengthError(9, 8),
    new InvalidRequestError("p", "is wrong", "mend it"),
    new MissingFeatureError("m", ["a", "b"]),
    new NetworkError("n", "h", { retryAfter: 3 }),
    new errors.IntegrityError("file", "i"),
    new errors.WebPageError("file"),
    new errors.NoWebGPUError("n", "h"),
    new errors.OutOfMemoryError("o"),
    new errors.DeviceLostError("d"),
    new errors.GpuError("g"),
    new UnloadedError(),
    new WorkerError("w"),
    new MlcwebError("own", "m", "h"),
    new RangeError("r"),
    new DOMException("d", "QuotaExceededError"),
    new Error("plain"),
  ])("keeps its class and what it holds: $name", (error) => {
    const json = JSON.parse(JSON.stringify(errorToJson(error))) as ReturnType<typeof errorToJson>;
    const back = errorFromJson(json);
    expect(back.constructor).toBe(error.constructor);
    expect(back).toBeInstanceOf(Error);
    const seen = (e: Error): object => ({
      ...e,
      name: e.name,
      message: e.message,
      stack: error instanceof DOMException || e.stack,
    });
    expect(seen(back)).toEqual(seen(error));
    expect((back.cause as Error | undefined)?.constructor).toBe((error.cause as Error | undefined)?.constructor);
  });

  it("of every class of errors.ts crosses", () => {
    const classes = Object.values(errors).filter((e) => typeof e === "function" && /^class/.test(String(e)));
    expect(classes.length).toBeGreaterThan(14);
    for (const made of classes as (new (
      ...args: never[]
    ) => Error)[]) {
      const error = Object.assign(Object.create(made.prototype), { message: "m", code: "c", name: "n" }) as Error;
      expect(errorFromJson(errorToJson(error)).constructor).toBe(made);
    }
  });

  it("that is none crosses as one", () => {
    expect(errorFromJson(errorToJson("just words"))).toMatchObject({ name: "Error", message: "just words" });
  });
});

it("a cancellation has the name that the browser's have", () => {
  const error = new CancelledError();
  expect(error).toMatchObject({ name: "AbortError", code: "cancelled" });
  expect(error).toBeInstanceOf(CancelledError);
});

describe("a call", () => {
  it("returns what the method returns, or throws what it throws", async () => {
    const page = await connect(new FakeWorker(methods));
    const arrays = [Float32Array.of(1, NaN), { a: undefined, b: [null] }];
    expect(await page.call("echo", ...arrays)).toEqual(arrays);
    await expect(page.call("fails")).rejects.toMatchObject({ code: "context-length", contextLength: 8 });
    await expect(page.call("toString")).rejects.toThrow(WorkerError);
    await expect(page.call("gives")).rejects.toMatchObject({ code: "invalid-request" });
  });

  it("refuses functions and what else cannot cross, by name", async () => {
    const page = await connect(new FakeWorker(methods));
    const cases: [unknown, string][] = [
      [{ fetch: () => {} }, "fetch"],
      [{ messages: [{ content: () => {} }] }, "messages[0].content"],
      [{ a: { b: Symbol("s") } }, "a.b"],
      [{ a: new WeakMap() }, "a"],
    ];
    for (const [arg, param] of cases)
      await expect(page.call("echo", arg)).rejects.toMatchObject({ code: "invalid-request", param });
    const ring: { ring?: unknown; f?: unknown } = { f: () => {} };
    ring.ring = ring;
    await expect(page.call("echo", { ring })).rejects.toMatchObject({ code: "invalid-request" });
  });

  it("takes proxies for what they stand for", async () => {
    const page = await connect(new FakeWorker(methods));
    const request = { messages: [new Proxy({ role: "user", content: "x" }, {})] };
    expect(await page.call("echo", new Proxy(request, {}))).toEqual([{ messages: [{ role: "user", content: "x" }] }]);
  });

  it("calls its callbacks, before it returns", async () => {
    const page = await connect(new FakeWorker(methods), { callbacks: ["onNews"] });
    const news: unknown[] = [];
    expect(await page.call("tells", { onNews: (one: unknown) => news.push(one) })).toBe("told");
    expect(news).toEqual([{ a: 1 }]);
  });

  it("is cancelled by its signal, also by one that has fired", async () => {
    const page = await connect(new FakeWorker(methods));
    const stop = new AbortController();
    const running = page.call("waits", { signal: stop.signal });
    expect(await settled(running)).toBe("waits");
    const reason = new Error("enough");
    stop.abort(reason);
    const error = await running.catch((e: unknown) => e);
    expect(error).toBeInstanceOf(CancelledError);
    expect((error as Error).cause).toBe(reason);
    await expect(page.call("waits", { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("a worker that is gone", () => {
  it("ends all calls with WorkerError, and those that come later", async () => {
    const worker = new FakeWorker(methods);
    const page = await connect(worker);
    const running = page.call("waits", { signal: new AbortController().signal });
    await pause();
    for (const session of worker.sessions) (session as unknown as { wire: { close(): void } }).wire.close();
    await expect(running).rejects.toMatchObject({ code: "worker", hint: expect.stringMatching(/worker/) as string });
    await expect(page.call("echo")).rejects.toThrow(WorkerError);
  });

  it("is noticed where nothing tells of it", async () => {
    const [ours, theirs] = extensionPorts();
    let deaf = false;
    const { addListener } = theirs.onMessage;
    theirs.onMessage.addListener = (hear) => addListener((message) => deaf || hear(message));
    listen("test", (wire) => serve(wire, methods, { service: "test" }), theirs);
    const page = await Connection.open(dialTo(ours), { service: "test", pingMs: 10, silentMs: 60 });
    const running = page.call("waits", { signal: new AbortController().signal });
    expect(await settled(running, 150)).toBe("waits"); // it answers pings
    deaf = true;
    await expect(running).rejects.toThrow(WorkerError);
  });

  it("is not taken for gone by a page whose timers slept", async () => {
    const [ours, theirs] = extensionPorts();
    listen("test", (wire) => serve(wire, methods, { service: "test" }), theirs);
    const { now } = performance;
    let slept = 0;
    vi.spyOn(performance, "now").mockImplementation(() => now.call(performance) + slept);
    const page = await Connection.open(dialTo(ours), { service: "test", pingMs: 10, silentMs: 60 });
    const running = page.call("waits", { signal: new AbortController().signal });
    for (let i = 0; i < 4; i++) {
      await pause(25);
      slept += 60_000;
    }
    expect(await settled(running)).toBe("waits");
    vi.restoreAllMocks();
  });

  it("or was never there", async () => {
    const { port1 } = new MessageChannel();
    await expect(connect(dialTo(port1), { startMs: 30 })).rejects.toThrow(/did not answer within 0.03 s/);
    const never = { open: () => new Promise<never>(() => {}), revives: true };
    await expect(connect(never, { startMs: 30 })).rejects.toThrow(WorkerError);
    expect(() => dialTo({} as never)).toThrow(InvalidRequestError);
  });

  it("or whose script failed", async () => {
    const { port1 } = new MessageChannel();
    const opening = connect(dialTo(port1));
    await pause();
    port1.dispatchEvent(new Event("error"));
    await expect(opening).rejects.toThrow(/its script cannot be loaded/);
  });
});

describe("a worker that is made again", () => {
  /** Each new worker is one of these methods' own. */
  async function again(all: Methods[]) {
    const workers: FakeWorker[] = [];
    const page = await connect(
      dialTo(() => {
        workers.push(new FakeWorker(all[workers.length] ?? all.at(-1)!));
        return workers.at(-1)!.port;
      }),
      { revive: (call) => call("echo") },
    );
    const die = (): void => {
      for (const session of workers.at(-1)!.sessions) (session as unknown as { wire: { close(): void } }).wire.close();
    };
    return { page, workers, die };
  }

  it("gets the calls that were under way, and then those that come", async () => {
    const slow: Methods = { ...methods, slow: () => new Promise(() => {}) };
    const quick: Methods = { ...methods, slow: () => "done" };
    const { page, workers, die } = await again([slow, quick]);
    const running = page.call("slow");
    await pause();
    die();
    expect(await running).toBe("done");
    die();
    expect(await page.call("echo", 1)).toEqual([1]);
    expect(workers.length).toBe(3);
  });

  it("need not be waited for by a call that is cancelled", async () => {
    const loads: Methods = { ...methods, load: () => new Promise(() => {}) };
    const workers: FakeWorker[] = [];
    const again = (): MessagePort => {
      workers.push(new FakeWorker(loads));
      return workers.at(-1)!.port;
    };
    const page = await connect(dialTo(again), { revive: (call) => call("load") });
    for (const session of workers[0]!.sessions) (session as unknown as { wire: { close(): void } }).wire.close();
    await pause();
    const stop = new AbortController();
    const running = page.call("waits", { signal: stop.signal });
    expect(await settled(running)).toBe("waits");
    stop.abort();
    await expect(running).rejects.toThrow(CancelledError);
    expect(workers.length).toBe(2);
    page.close(new UnloadedError());
    await expect(page.call("echo")).rejects.toThrow(UnloadedError);
  });

  it("is given up by a call that ends it each time", async () => {
    let die = (): void => {};
    const deadly: Methods = {
      ...methods,
      deadly: () => {
        queueMicrotask(() => die());
        return new Promise(() => {});
      },
    };
    const made = await again([deadly]);
    die = made.die;
    await expect(made.page.call("deadly")).rejects.toThrow(WorkerError);
    expect(made.workers.length).toBeLessThan(6);
    expect(await made.page.call("echo", 2)).toEqual([2]);
  });
});

describe("messages", () => {
  const good = { mlcweb: "mlcweb-worker", kind: "call", id: 1, method: "m", args: [], signals: [], callbacks: [] };
  it.each([
    null,
    7,
    "call",
    [],
    {},
    { ...good, mlcweb: "other" },
    { ...good, kind: "nothing" },
    { ...good, kind: "toString" },
    { ...good, id: -1 },
    { ...good, id: "1" },
    { ...good, args: {} },
    { ...good, callbacks: [["a"]] },
    { ...good, signals: [{}] },
    { ...good, kind: "items", items: 3 },
    { ...good, kind: "result", end: {} },
  ])("of others, and malformed ones, are left alone: %j", (data) => {
    expect(readMessage(data)).toBeUndefined();
    expect(readMessage(good)).toBeDefined();
  });

  it("of others disturb nothing that goes on", async () => {
    const worker = new FakeWorker(methods);
    const page = await connect(worker);
    const wire = [...worker.sessions][0] as unknown as { wire: { post(message: unknown): void } };
    wire.wire.post({ kind: "result", id: 77, end: { value: 1 } });
    wire.wire.post({ kind: "items", id: 1, items: [], end: { value: 1 } });
    worker.port.postMessage({ mlcweb: "mlcweb-worker", kind: "connect", service: "test" }); // with no port
    worker.port.postMessage({ type: "theirs" });
    expect(await page.call("echo", 5)).toEqual([5]);
    expect(worker.sessions.size).toBe(1);
  });

  it("from a foreign origin open no connection", async () => {
    const scope = Object.assign(new EventTarget(), { location: { origin: "https://own.test" } });
    const accepted = vi.fn<() => Session>();
    listen("test", accepted, undefined, scope);
    const from = (origin: string): void => {
      const { port1 } = new MessageChannel();
      const data = { mlcweb: "mlcweb-worker", kind: "connect", service: "test" };
      scope.dispatchEvent(Object.assign(new Event("message"), { origin, data, ports: [port1] }));
    };
    from("https://foreign.test");
    expect(accepted).not.toHaveBeenCalled();
    from("https://own.test");
    from("");
    expect(accepted).toHaveBeenCalledTimes(2);
  });

  it("keep a service worker from being ended while it answers", async () => {
    const scope = Object.assign(new EventTarget(), { location: { origin: "https://own.test" } });
    let finish = (_: string): void => {};
    const slow: Methods = { slow: () => new Promise((resolve) => (finish = resolve)) };
    listen("test", (wire) => serve(wire, slow, { service: "test" }), undefined, scope);
    const { port1, port2 } = new MessageChannel();
    const send = (data: object, ports: MessagePort[] = []): { done: Promise<unknown> } => {
      let done: Promise<unknown> = Promise.resolve();
      const waitUntil = (until: Promise<unknown>) => (done = until);
      scope.dispatchEvent(Object.assign(new Event("message"), { data, ports, waitUntil }));
      return { done };
    };
    send({ mlcweb: "mlcweb-worker", kind: "connect", service: "test" }, [port2]);
    const page = await connect({ open: async () => portWire(port1), revives: false });
    const held = send({ mlcweb: "mlcweb-worker", kind: "keep-alive" }).done; // comes before the call
    const running = page.call("slow");
    expect(await settled(held, 1200)).toBe("waits");
    finish("done");
    expect(await running).toBe("done");
    await held;
  });

  it("of another version, and another service, are refused in words", async () => {
    const worker = new FakeWorker(methods);
    const { port1, port2 } = new MessageChannel();
    const heard = new Promise<MessageEvent>((resolve) => port1.addEventListener("message", resolve as never));
    port1.start();
    worker.port.postMessage({ mlcweb: "mlcweb-worker", kind: "connect", service: "test" }, [port2]);
    port1.postMessage({ mlcweb: "mlcweb-worker", kind: "hello", version: 99, service: "test" });
    expect((await heard).data).toMatchObject({ kind: "refused", error: { message: expect.stringMatching(/99/) } });
    port1.close();
    const [ours, theirs] = extensionPorts();
    listen("other", (wire) => serve(wire, methods, { service: "other" }), theirs);
    await expect(connect(dialTo(ours))).rejects.toThrow(/serves "other", and not "test"/);
  });
});

describe("an extension's port", () => {
  afterEach(() => vi.unstubAllGlobals());

  it("carries arrays, numbers that JSON has not, errors, signals and callbacks", async () => {
    const [ours, theirs] = extensionPorts();
    listen("test", (wire) => serve(wire, methods, { service: "test" }), theirs);
    const page = await connect(dialTo(ours), { callbacks: ["onNews"] });
    const values = [Float32Array.of(1.5, -2), Infinity, { list: [1n, undefined] }];
    expect(await page.call("echo", ...values)).toEqual(values);
    expect(await page.call("nothing")).toBeUndefined();
    await expect(page.call("fails")).rejects.toThrow(ContextLengthError);
    await expect(page.call("waits", { signal: AbortSignal.abort() })).rejects.toThrow(CancelledError);
    await expect(page.call("echo", { a: [() => {}] })).rejects.toMatchObject({ param: "a[0]" });
    const news: unknown[] = [];
    await page.call("tells", { onNews: (one: unknown) => news.push(one) });
    expect(news).toEqual([{ a: 1 }]);
    const running = page.call("waits", { signal: new AbortController().signal });
    theirs.disconnect();
    await expect(running).rejects.toThrow(/its port was disconnected/);
  });

  it("is taken from the extension's own pages alone", () => {
    let join = (_: unknown): void => {};
    const onConnect = { addListener: (listener: (port: unknown) => void) => (join = listener) };
    const location = { origin: "chrome-extension://abc" };
    const scope = Object.assign(new EventTarget(), { location, chrome: { runtime: { onConnect } } });
    const accepted = vi.fn<() => Session>();
    listen("test", accepted, undefined, scope as never);
    const port = (name: string, sender: object): object => ({ ...extensionPorts()[0], name, sender });
    join(port("theirs", { origin: location.origin }));
    join(port("mlcweb", { origin: "https://foreign.test" }));
    join(port("mlcweb", { url: "https://foreign.test/page" }));
    expect(accepted).not.toHaveBeenCalled();
    join(port("mlcweb", { url: "chrome-extension://abc/page.html" }));
    expect(accepted).toHaveBeenCalledTimes(1);
  });

  it("JSON comes back as it was", () => {
    const value = { a: [Uint8Array.of(1, 255), NaN, -Infinity], b: { c: "x", d: null, e: undefined } };
    expect(fromJson(JSON.parse(JSON.stringify(toJson(value))))).toEqual(value);
  });
});
