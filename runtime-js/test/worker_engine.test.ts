// Tests WorkerEngine on engines over a model without a GPU: the same members, one model for several pages, and what is
// left when they go.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChatCompletion, ChatCompletionChunk } from "../src/chat/index.js";
import { type CataloguedModel, Engine, type LoadOptions } from "../src/engine/index.js";
import { BundleError, CancelledError, InvalidRequestError, UnloadedError, WorkerError } from "../src/errors.js";
import { WorkerEngine, type WorkerLoadOptions } from "../src/worker/client.js";
import { EngineHost } from "../src/worker/engine_methods.js";
import { listen, type Session, serve } from "../src/worker/index.js";
import { open, PROMPT } from "./fake_engine.js";
import { type FakeModel, sum } from "./fake_model.js";
import { extensionPorts, pause, settled } from "./worker_pair.js";

const URL_ = "https://x.test/m/";
const messages = [{ role: "user" as const, content: "x" }];
const ask = (engine: WorkerEngine, more: object = {}): Promise<ChatCompletion> =>
  engine.chat.completions.create({ messages, temperature: 0, max_tokens: 5, ...more });
const textOf = (answer: ChatCompletion): string | null => answer.choices[0]!.message.content;
const stream = async (engine: WorkerEngine, more: object = {}): Promise<AsyncIterator<ChatCompletionChunk>> =>
  (await engine.chat.completions.create({ messages, temperature: 0, max_tokens: 12, ...more, stream: true }))[
    Symbol.asyncIterator
  ]();
const RIGHT = expected(5);

function expected(count: number): string {
  const history = [...PROMPT];
  for (let i = 0; i < count; i++) history.push(sum(history));
  return history
    .slice(PROMPT.length)
    .map((token) => `${token} `)
    .join("");
}

interface Made {
  readonly url: string;
  readonly options: LoadOptions;
  readonly engine: Engine;
  readonly model: FakeModel;
  lose(): void;
}
let made: Made[] = [];
let unloads = 0;
/** How a load goes before it succeeds. */
let loading: (options: LoadOptions) => Promise<void> = async () => {};

beforeEach(() => {
  made = [];
  unloads = 0;
  loading = async () => {};
  vi.spyOn(Engine, "load").mockImplementation(async (url, options = {}) => {
    await loading(options);
    const { engine, model, lose } = open();
    const { unload } = engine;
    engine.unload = () => {
      unloads++;
      return unload.call(engine);
    };
    vi.spyOn(engine, "info", "get").mockImplementation(() => {
      (engine as unknown as { held: { alive(): void } }).held.alive();
      return { url, cachedTokens: model.position } as never;
    });
    made.push({ url: url as string, options, engine, model, lose });
    return engine;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** A worker; each page has a port to it. */
function worker() {
  const host = new EngineHost({});
  const sessions = new Set<Session>();
  const wires: { close(): void }[] = [];
  const dial = (): MessagePort => {
    const { port1, port2 } = new MessageChannel();
    const accept = (wire: Parameters<typeof serve>[0]): Session => {
      wires.push(wire);
      const session = serve(wire, host.methods, {
        ...host.options,
        onClose: (closed) => {
          sessions.delete(closed);
          host.options.onClose?.(closed);
        },
      });
      sessions.add(session);
      return session;
    };
    listen(host.options.service, accept, port2);
    return port1;
  };
  const load = (options?: WorkerLoadOptions, source: string | CataloguedModel = URL_): Promise<WorkerEngine> =>
    WorkerEngine.load(dial(), source, options);
  /** The worker's ends of all wires fall away, without a word. */
  const closeAll = (): void => {
    for (const wire of wires.splice(0)) wire.close();
  };
  return { dial, load, sessions, closeAll };
}

/** The page closes, without a word. */
function drop(page: WorkerEngine): void {
  (page as unknown as { connection: { link: { wire: { close(): void } } } }).connection.link.wire.close();
}

it("has each public member of Engine", () => {
  // Private or internal in TypeScript, and not in JavaScript.
  const inner = ["backend", "checkItself", "logitsOfPicture", "rendering", "texts", "validateTexts"];
  const own = ["constructor", ...inner];
  const missing = Object.getOwnPropertyNames(Engine.prototype).filter(
    (name) => !own.includes(name) && !(name in WorkerEngine.prototype),
  );
  expect(missing).toEqual([]);
  for (const name of own) expect(Object.getOwnPropertyNames(Engine.prototype)).toContain(name); // the list is not stale
  expect(Object.getOwnPropertyNames(Engine).filter((name) => !(name in WorkerEngine))).toEqual([]);
});

describe("an engine in a worker", () => {
  it("answers as one on the page does", async () => {
    const engine = await worker().load();
    expect(textOf(await ask(engine))).toBe(RIGHT);
    const chunks = await stream(engine, { max_tokens: 5, stream_options: { include_usage: true } });
    let text = "";
    for (let next = await chunks.next(); !next.done; next = await chunks.next())
      text += next.value.choices[0]?.delta.content ?? "";
    expect(text).toBe(RIGHT);
    const tokens = await engine.greedy(PROMPT, 4);
    expect(await engine.decode(tokens)).toBe(expected(4));
    const generated = engine.generate(PROMPT, { temperature: 0, max_tokens: 2 });
    expect((await generated.next()).value).toEqual({ token: tokens[0] });
    await generated.next();
    expect(await generated.next()).toEqual({ done: true, value: { reason: "length" } });
    expect((await engine.logits(PROMPT)).indexOf(5)).toBe(tokens[0]);
    expect((await engine.replay(PROMPT, tokens)).length).toBe(5);
    expect(await engine.encode("x")).toEqual(PROMPT);
    expect(await engine.renderChat(messages)).toBe("");
    expect(await engine.chat.completions.prompt({ messages })).toEqual({ text: "", tokens: PROMPT });
    const completion = await engine.completions.create({ prompt: "x", temperature: 0, max_tokens: 2 });
    expect(completion.choices[0]!.finish_reason).toBe("length");
  });

  it("has its facts, which are new after each answer", async () => {
    const engine = await worker().load();
    expect(engine.info).toMatchObject({ url: URL_, cachedTokens: 0 });
    await ask(engine);
    expect(engine.info.cachedTokens).toBe(PROMPT.length + 4);
    made[0]!.lose();
    await expect(ask(engine)).rejects.toMatchObject({ code: "gpu" });
    expect(() => engine.info).toThrow(/gone wrong/);
  });

  it("refuses what Engine refuses, with its errors", async () => {
    const engine = await worker().load();
    await expect(ask(engine, { temperature: 9 })).rejects.toMatchObject({ param: "temperature" });
    await expect(ask(engine, { signal: "none" })).rejects.toMatchObject({ param: "signal" });
    await expect(ask(engine, { onToken: () => {} })).rejects.toMatchObject({ param: "onToken" });
    await expect(engine.chat.completions.create(undefined as never)).rejects.toThrow(InvalidRequestError);
    await expect(engine.generate([]).next()).rejects.toMatchObject({ code: "invalid-request" });
    expect(textOf(await ask(engine))).toBe(RIGHT);
  });

  it("is cancelled, interrupted, reset and unloaded", async () => {
    const { load, sessions } = worker();
    const engine = await load();
    const stop = new AbortController();
    const cancelled = await stream(engine, { signal: stop.signal });
    await cancelled.next();
    stop.abort();
    await expect(cancelled.next()).rejects.toThrow(CancelledError);
    await expect(ask(engine, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
    const interrupted = await stream(engine);
    await interrupted.next();
    engine.interrupt();
    const reasons: unknown[] = [];
    for (let next = await interrupted.next(); !next.done; next = await interrupted.next())
      reasons.push(next.value.choices[0]!.finish_reason);
    expect(reasons.at(-1)).toBe("abort");
    await engine.reset();
    expect(made[0]!.model.kv.length).toBeGreaterThan(0);
    expect(engine.info).toBeDefined();
    const left = await stream(engine, { n: 100 });
    await left.next();
    const waiting = ask(engine);
    await pause();
    await Promise.all([engine.unload(), expect(waiting).rejects.toThrow(UnloadedError)]);
    await engine.unload();
    await expect(ask(engine)).rejects.toThrow(UnloadedError);
    expect(() => engine.info).toThrow(UnloadedError);
    await pause();
    expect([unloads, sessions.size]).toEqual([1, 0]);
  });

  it("is behind an extension's port too", async () => {
    const [ours, theirs] = extensionPorts();
    const host = new EngineHost({});
    listen(host.options.service, (wire) => serve(wire, host.methods, host.options), theirs);
    const engine = await WorkerEngine.load(ours, URL_);
    expect(textOf(await ask(engine))).toBe(RIGHT);
    expect((await engine.logits(PROMPT)).length).toBe(100);
    theirs.disconnect();
    await expect(ask(engine)).rejects.toThrow(WorkerError);
  });
});

describe("a load", () => {
  it("tells its progress and warnings, and takes the page's URL along", async () => {
    vi.stubGlobal("document", { baseURI: "https://x.test/app/page" });
    loading = async ({ onProgress, onWarning }) => {
      onProgress?.({ stage: "weights", fraction: 0.5 } as never);
      onWarning?.({ code: "offline", message: "m" });
    };
    const heard: unknown[] = [];
    const options: WorkerLoadOptions = {
      contextLength: 64,
      onProgress: ({ stage }) => heard.push(stage),
      onWarning: ({ code }) => heard.push(code),
    };
    await worker().load(options, "../m?token=t");
    expect(heard).toEqual(["weights", "offline"]);
    expect(made[0]!.url).toBe("https://x.test/m/?token=t");
    expect(made[0]!.options.contextLength).toBe(64);
  });

  it("takes a catalog's model, which the page chooses", async () => {
    const tier = { name: "base", features: [], limits: {}, memory: [{ context: 64, bytes: 1 }] };
    const one = { id: "m-q4f32_1", model: "m", family: "f", quantization: "q4f32_1", parameters: 1 };
    const rest = { context_length: 64, bytes: 1, tiers: [tier], licence: "", url: "m-1/" };
    const model = { ...one, ...rest, manifest_sha256: "0".repeat(64) };
    const catalog = { format: "mlcweb-catalog", version: 1, models: [model] };
    vi.stubGlobal("fetch", async () => new Response(JSON.stringify(catalog)));
    const adapter = { features: new Set(), limits: {}, info: { architecture: "", device: "", description: "" } };
    vi.stubGlobal("navigator", { gpu: { requestAdapter: async () => adapter } });
    await worker().load({}, { catalog: "https://cdn.test/", model: "m" });
    expect(made[0]!.url).toBe("https://cdn.test/m-1/");
  });

  it("refuses functions that cannot cross, and URLs that are none", async () => {
    const { load, sessions } = worker();
    await expect(load({ fetch: () => {} } as never)).rejects.toMatchObject({ param: "fetch" });
    await expect(load({ constrain: {} } as never)).rejects.toMatchObject({ param: "constrain" });
    await expect(load({ onOther: () => {} } as never)).rejects.toMatchObject({ param: "onOther" });
    await expect(load({}, "relative")).rejects.toThrow(BundleError);
    await pause();
    expect(sessions.size).toBe(0);
  });

  it("that fails rejects with the error, and leaves nothing", async () => {
    loading = async () => {
      throw new BundleError("no such bundle");
    };
    const { load, sessions } = worker();
    await expect(load()).rejects.toThrow(BundleError);
    await pause();
    expect(sessions.size).toBe(0);
    loading = async () => {};
    expect(textOf(await ask(await load()))).toBe(RIGHT);
  });

  const untilAborted = ({ signal }: LoadOptions): Promise<void> =>
    new Promise((_, reject) => signal!.addEventListener("abort", () => reject(new CancelledError())));

  it("is cancelled by its signal, at every stage", async () => {
    loading = untilAborted;
    const { load } = worker();
    await expect(load({ signal: AbortSignal.abort() })).rejects.toThrow(CancelledError);
    const stop = new AbortController();
    const running = load({ signal: stop.signal });
    await pause();
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: "cancelled" });
    const silent = new AbortController();
    const opening = WorkerEngine.load(new MessageChannel().port1, URL_, { signal: silent.signal });
    await pause();
    silent.abort();
    await expect(opening).rejects.toThrow(CancelledError);
    expect(made).toEqual([]);
  });

  it("of one page goes on when another's is cancelled, and ends when all are", async () => {
    let ended = 0;
    let finish = (): void => {};
    loading = (options) => {
      const cancelled = untilAborted(options).finally(() => ended++);
      return Promise.race([cancelled, new Promise<void>((resolve) => (finish = resolve))]);
    };
    const { load } = worker();
    const stop = new AbortController();
    const [one, two] = [load(), load({ signal: stop.signal })];
    await pause();
    stop.abort();
    await expect(two).rejects.toThrow(CancelledError);
    expect(await settled(one)).toBe("waits");
    finish();
    expect(textOf(await ask(await one))).toBe(RIGHT);
    expect([made.length, ended]).toEqual([1, 0]);
  });
});

describe("several pages", () => {
  it("share one model, which is freed when the last one leaves", async () => {
    const { load, sessions } = worker();
    const pages = await Promise.all([load(), load(), load()]);
    const later = await load({ onProgress: () => {} });
    expect(made.length).toBe(1);
    const answers = await Promise.all([...pages, later].map((page) => ask(page)));
    expect(answers.map(textOf)).toEqual(Array(4).fill(RIGHT));
    await pages[0]!.unload();
    await later.unload();
    await pause();
    expect([unloads, sessions.size]).toEqual([0, 2]);
    for (const page of pages.slice(1)) drop(page);
    await pause();
    expect([unloads, sessions.size]).toEqual([1, 0]);
    await load();
    expect(made.length).toBe(2);
  });

  it("have models of their own for other options", async () => {
    const { load } = worker();
    const same = [await load({ contextLength: 8, tier: "base" }), await load({ tier: "base", contextLength: 8 })];
    const others = [await load({ contextLength: 9 }), await load({}, "https://x.test/other/")];
    expect(made.length).toBe(3);
    await Promise.all([...same, ...others].map((page) => page.unload()));
    expect(unloads).toBe(3);
  });

  it("end no answers of each other", async () => {
    const { load } = worker();
    const [one, two] = [await load(), await load()];
    const running = await stream(one, { max_tokens: 20 });
    await running.next();
    two.interrupt();
    const reset = two.reset();
    let last: unknown;
    for (let next = await running.next(); !next.done; next = await running.next())
      last = next.value.choices[0]!.finish_reason;
    expect(last).toBe("length");
    await reset;
    const own = await stream(two, { max_tokens: 20 });
    await own.next();
    two.interrupt();
    for (let next = await own.next(); !next.done; next = await own.next()) last = next.value.choices[0]!.finish_reason;
    expect(last).toBe("abort");
  });

  it("need not wait for one that does not read, nor for one that is gone", async () => {
    const { load, sessions } = worker();
    const [one, two] = [await load(), await load()];
    const unread = await stream(one, { max_tokens: 20 });
    await unread.next();
    expect(textOf(await ask(two))).toBe(RIGHT);
    const gone = await stream(one, { n: 100 });
    await gone.next();
    const waiting = ask(one);
    const waits = waiting.catch((e: unknown) => e);
    const [session] = sessions;
    const next = ask(two);
    session!.close();
    expect(textOf(await next)).toBe(RIGHT);
    expect(await waits).toBeInstanceOf(WorkerError);
  });

  it("do not share a model whose GPU is lost", async () => {
    const { load } = worker();
    const one = await load();
    made[0]!.lose();
    await expect(ask(one)).rejects.toMatchObject({ code: "gpu" });
    expect(textOf(await ask(await load()))).toBe(RIGHT);
    expect(made.length).toBe(2);
  });
});

it("a worker that is made again has the model again, and the page hears nothing of it", async () => {
  const all: ReturnType<typeof worker>[] = [];
  let progress = 0;
  loading = async ({ onProgress }) => onProgress?.({ stage: "ready" } as never);
  const engine = await WorkerEngine.load(
    () => {
      all.push(worker());
      return all.at(-1)!.dial();
    },
    URL_,
    { contextLength: 64, onProgress: () => progress++ },
  );
  const waiting = stream(engine, { max_tokens: 5 });
  await waiting;
  all[0]!.closeAll();
  const chunks = await waiting;
  let text = "";
  for (let next = await chunks.next(); !next.done; next = await chunks.next())
    text += next.value.choices[0]?.delta.content ?? "";
  expect(text).toBe(RIGHT);
  expect(made.map(({ url, options }) => [url, options.contextLength])).toEqual(Array(2).fill([URL_, 64]));
  expect(progress).toBe(1);
  const begun = await stream(engine);
  await begun.next();
  all[1]!.closeAll();
  const rest = async (): Promise<void> => {
    while (!(await begun.next()).done);
  };
  await expect(rest()).rejects.toThrow(WorkerError);
  all.at(-1)!.closeAll();
  await pause();
  engine.interrupt();
  await engine.unload(); // starts no worker to free what is gone
  expect(all.length).toBe(2);
});

it("what an engine says after its load, as of a recovery, comes to the pages that have it", async () => {
  const { load } = worker();
  const told: string[] = [];
  const listener = (name: string) => ({
    onProgress: ({ stage }: { stage: string }) => told.push(`${name} ${stage}`),
    onWarning: ({ code }: { code: string }) => told.push(`${name} ${code}`),
  });
  const one = await load(listener("one") as never);
  const two = await load(listener("two") as never);
  expect(told).toEqual([]);
  const [{ options }] = made as [Made];
  options.onProgress!({ stage: "weights" } as never);
  options.onWarning!({ code: "recovered", message: "" });
  await ask(one);
  await ask(two);
  expect(told.sort()).toEqual(["one recovered", "one weights", "two recovered", "two weights"]);
});

it("fifty requests at once, of which some are cancelled, mix nothing and leave nothing", async () => {
  const { load, sessions } = worker();
  const pages = [await load(), await load()];
  const seeds = Array.from({ length: 50 }, (_, i) => [i + 1, 2]);
  const right = (prompt: number[], count: number): number[] => {
    const history = [...prompt];
    for (let i = 0; i < count; i++) history.push(sum(history));
    return history.slice(prompt.length);
  };
  const outcomes = await Promise.all(
    seeds.map(async (prompt, i) => {
      const stop = new AbortController();
      const after = i % 3 === 0 ? i % 7 : Infinity;
      const read: number[] = [];
      if (i % 10 === 0) setTimeout(() => stop.abort(), i);
      try {
        const request = { temperature: 0, max_tokens: 9, stop_tokens: [], signal: stop.signal };
        for await (const { token } of pages[i % 2]!.generate(prompt, request)) {
          read.push(token);
          if (read.length > after) stop.abort();
        }
        expect(read).toEqual(right(prompt, 9));
        return "whole";
      } catch (error) {
        expect(error).toBeInstanceOf(CancelledError);
        expect(read).toEqual(right(prompt, read.length));
        return "cancelled";
      }
    }),
  );
  expect(outcomes.filter((o) => o === "whole").length).toBeGreaterThan(25);
  expect(outcomes.filter((o) => o === "cancelled").length).toBeGreaterThan(14);
  await pause();
  for (const session of sessions) expect(session.signals.size).toBe(0);
  const { queue } = made[0]!.engine as unknown as { queue: { holder: unknown; waiting: unknown[] } };
  expect([queue.holder, queue.waiting.length]).toEqual([undefined, 0]);
  expect(textOf(await ask(pages[0]!))).toBe(RIGHT);
});
