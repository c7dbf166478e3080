// An engine whose device is lost, or whose worker stops, at any moment: what it does then, and what its page hears.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Model } from "../src/decode/index.js";
import { answerOn } from "../src/engine/answering.js";
import { Engine, type LoadOptions } from "../src/engine/index.js";
import * as loads from "../src/engine/load.js";
import type { Known } from "../src/engine/stages.js";
import { CancelledError, DeviceLostError, NetworkError, UnloadedError, WorkerError } from "../src/errors.js";
import { loadedOf, PROMPT } from "./fake_engine.js";
import { FakeModel, HOST_OFF, sum } from "./fake_model.js";

vi.mock("../src/engine/load.js", { spy: true });

type Made = ReturnType<typeof loadedOf> & { readonly model: FakeModel };
let made: Made[] = [];
/** What each load met, and what goes before it succeeds. */
let asked: { readonly options: LoadOptions; readonly known: Known | undefined }[] = [];
let before: (load: number, options: LoadOptions) => Promise<void> = async () => {};
let warnings: string[] = [];
/** Milliseconds of a step. */
let delay = 1;

/** The model, whose work fails when its device has. */
function guarded(model: FakeModel, guard: () => Made["guard"]): Model {
  return new Proxy(model, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        guard().check();
        const result = Reflect.apply(value, target, args) as unknown;
        if (!(result instanceof Promise)) return result;
        const raced = guard().race(result);
        raced.catch(() => {});
        return raced;
      };
    },
  });
}

beforeEach(() => {
  made = [];
  asked = [];
  warnings = [];
  delay = 1;
  before = async () => {};
  vi.mocked(loads.load).mockImplementation(async (_url, options, known) => {
    asked.push({ options, known });
    await before(asked.length, options);
    const model = new FakeModel(sum);
    model.contextLength = model.kvTokens = 64;
    model.delay = delay;
    const one: Made = { ...loadedOf(guarded(model, () => one.guard)), model };
    made.push(one);
    return one.loaded;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const open = (options: LoadOptions = {}): Promise<Engine> =>
  Engine.load("https://fake.example/", {
    selfCheck: false,
    onWarning: ({ code }) => warnings.push(code),
    ...options,
  });
const pause = (ms = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** The device is lost, and the engine hears of it. */
async function drop(message = "reset"): Promise<void> {
  made.at(-1)!.drop(message);
  await pause(0);
}

function answer(count: number): number[] {
  const history = [...PROMPT];
  for (let i = 0; i < count; i++) history.push(sum(history));
  return history.slice(PROMPT.length);
}
const text = (tokens: number[]): string => tokens.map((token) => `${token} `).join("");
const ask = async (engine: Engine, count = 6): Promise<string> =>
  (await engine.completions.create({ prompt: "x", max_tokens: count, temperature: 0, stream: false })).choices[0]!.text;

describe("a device that is lost", () => {
  it("while nothing is asked: the model is loaded again at once, and the page need not know", async () => {
    const engine = await open();
    await drop();
    await pause();
    expect([made.length, made[0]!.freed.count, warnings]).toEqual([2, 1, ["recovered"]]);
    expect(asked[1]!.known?.manifest).toBe(made[0]!.loaded.manifest);
    expect(engine.encode("x")).toEqual(PROMPT);
    expect(await ask(engine)).toBe(text(answer(6)));
  });

  it("on a hidden page: it is loaded again when it is asked", async () => {
    vi.stubGlobal("document", { visibilityState: "hidden" });
    const engine = await open();
    await drop();
    await pause();
    expect(made.length).toBe(1);
    expect(engine.encode("x")).toEqual(PROMPT);
    expect(await ask(engine)).toBe(text(answer(6)));
    expect([made.length, warnings]).toEqual([2, ["recovered"]]);
    await drop();
    expect(Array.from((await engine.logits(PROMPT)).slice(0, 1))).toEqual([0]);
    expect(made.length).toBe(3);
  });

  it("during an answer: it goes on, after a pause, and so do those that wait", async () => {
    const engine = await open();
    const waiting = [ask(engine, 30), ask(engine, 3), ask(engine, 2)];
    await pause(8);
    await drop();
    expect(await Promise.all(waiting)).toEqual([30, 3, 2].map((count) => text(answer(count))));
    expect(warnings).toEqual(["recovered"]);
  });

  it("while a stream is read: its reader sees nothing of it, nor while it does not read", async () => {
    const engine = await open();
    const chunks = await engine.completions.create({ prompt: "x", max_tokens: 20, temperature: 0, stream: true });
    let said = "";
    let count = 0;
    for await (const chunk of chunks) {
      said += chunk.choices[0]?.text ?? "";
      if (++count === 4) {
        await drop();
        await pause(60);
      }
    }
    expect(said).toBe(text(answer(20)));
    expect(warnings).toEqual(["recovered"]);
  });

  it("twice in a row: the answer goes on; a third time within a minute: it ends with the loss", async () => {
    delay = 15;
    const engine = await open();
    const waiting = ask(engine, 40);
    const behind = ask(engine, 3);
    const outcomes = Promise.allSettled([waiting, behind]);
    for (let i = 0; i < 2; i++) {
      await vi.waitFor(() => expect(made[i]?.model.taken).toBeGreaterThan(2), { interval: 1 });
      await drop(`reset ${i}`);
    }
    await vi.waitFor(() => expect(made[2]?.model.taken).toBeGreaterThan(2), { interval: 1 });
    expect(warnings).toEqual(["recovered", "recovered"]);
    await drop("reset for good");
    const [one, two] = await outcomes;
    for (const outcome of [one, two])
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "device-lost", cause: expect.anything() } });
    expect((one as PromiseRejectedResult).reason.message).toContain("reset for good");
    await expect(ask(engine)).rejects.toThrow(/third time within a minute/);
    expect(made.length).toBe(3);
    vi.spyOn(performance, "now").mockReturnValue(performance.now() + 61_000);
    expect(await ask(engine)).toBe(text(answer(6)));
  });

  it("while it is loaded again: that load begins again", async () => {
    const engine = await open();
    before = async (load) => {
      if (load === 2) throw new DeviceLostError("again");
    };
    const waiting = ask(engine, 12);
    await pause(5);
    await drop();
    expect(await waiting).toBe(text(answer(12)));
    expect([asked.length, warnings]).toEqual([3, ["recovered"]]);
  });

  it("and no way to load again: answers end with the loss and its cause, and the next one tries again", async () => {
    const engine = await open();
    before = async (load) => {
      if (load === 2) throw new NetworkError("no network");
    };
    const outcomes = Promise.allSettled([ask(engine, 30), ask(engine, 3)]);
    await pause(5);
    await drop();
    const failed = { code: "device-lost", cause: { code: "network" }, message: expect.stringContaining("no network") };
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ status: "rejected", reason: failed });
    expect(warnings).toEqual([]);
    expect(await ask(engine)).toBe(text(answer(6)));
    expect(warnings).toEqual(["recovered"]);
  });

  it("with recover: false: everything ends with the loss", async () => {
    const engine = await open({ recover: false });
    const outcomes = Promise.allSettled([ask(engine, 30), ask(engine, 3)]);
    await pause(5);
    await drop();
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: "device-lost" } });
    await expect(ask(engine)).rejects.toThrow(DeviceLostError);
    expect(() => engine.encode("x")).toThrow(DeviceLostError);
    expect(made.length).toBe(1);
  });

  it("during the load: it begins again, once", async () => {
    before = async (load) => {
      if (load !== 2) throw new DeviceLostError("in the load");
    };
    const engine = await open();
    expect(await ask(engine)).toBe(text(answer(6)));
    asked = [];
    before = async () => {
      throw new DeviceLostError("in the load");
    };
    await expect(open()).rejects.toThrow(DeviceLostError);
    expect(asked.length).toBe(2);
    asked = [];
    await expect(open({ recover: false })).rejects.toThrow(DeviceLostError);
    expect(asked.length).toBe(1);
  });

  it("after it is unloaded: nothing is loaded", async () => {
    const engine = await open();
    await engine.unload();
    await drop();
    await pause();
    expect(made.length).toBe(1);
    await expect(ask(engine)).rejects.toThrow(UnloadedError);
  });

  it.each(["waits", "comes all the same"])("and unloaded while it is loaded again, which %s", async (how) => {
    const engine = await open();
    let go = (): void => {};
    before = (_, { signal }) =>
      new Promise((resolve, reject) => {
        go = resolve;
        if (how === "waits") signal!.addEventListener("abort", () => reject(new CancelledError()));
      });
    const outcomes = Promise.allSettled([ask(engine, 30), ask(engine, 3)]);
    await pause(5);
    await drop();
    await engine.unload();
    go();
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: "unloaded" } });
    await pause();
    for (const { freed } of made) expect(freed.count).toBeGreaterThan(0);
    expect(warnings).toEqual([]);
  });

  it("long after the load: the load's signal has nothing to say", async () => {
    const controller = new AbortController();
    const engine = await open({ signal: controller.signal });
    controller.abort();
    await drop();
    expect(await ask(engine)).toBe(text(answer(6)));
  });

  it("during logits: they end with the loss, and the next ones come", async () => {
    const engine = await open();
    made[0]!.model.delay = 50;
    const logits = engine.logits(PROMPT).catch((error: unknown) => error);
    await pause(5);
    await drop();
    expect(await logits).toBeInstanceOf(DeviceLostError);
    expect(await engine.logits(PROMPT)).toHaveLength(100);
  });

  it("between two turns of tokens: the second goes on from the first", async () => {
    const engine = await open();
    const told = async (tokens: number[]): Promise<void> => {
      for await (const _ of engine.generate(tokens, { max_tokens: 2, temperature: 0 }, { goesOn: true } as never));
    };
    await told(PROMPT);
    const held = [...made[0]!.model.kv.slice(0, PROMPT.length + 1)];
    await drop();
    await told([50, 51]);
    expect(made[1]!.model.kv.slice(0, held.length + 2)).toEqual([...held, 50, 51]);
  });
});

it("a worker that stops is as a device that is lost", async () => {
  const engine = await open();
  const stop = (): void => (made.at(-1)!.guard as unknown as { fail(e: Error): void }).fail(new WorkerError("stopped"));
  const waiting = ask(engine, 30);
  await pause(5);
  stop();
  expect(await waiting).toBe(text(answer(30)));
  before = async () => {
    throw new NetworkError("no network");
  };
  stop();
  await expect(ask(engine)).rejects.toMatchObject({ code: "worker", cause: { code: "network" } });
});

it("an error of the GPU that is no loss ends the engine, as ever", async () => {
  const engine = await open();
  made[0]!.lose();
  await expect(ask(engine)).rejects.toMatchObject({ code: "gpu" });
  expect(made.length).toBe(1);
});

it("work on whole texts begins again", async () => {
  const engine = await open();
  let runs = 0;
  const embed = async (): Promise<unknown> => {
    const { guard } = made.at(-1)!;
    if (++runs < 3) made.at(-1)!.drop(`reset ${runs}`);
    await guard.race(pause());
    return { data: [runs] };
  };
  vi.spyOn(engine as unknown as { texts(): object }, "texts").mockReturnValue({ embed, rerank: embed });
  expect(await engine.embeddings.create({ input: "a" })).toEqual({ data: [3] });
  expect(warnings).toEqual(["recovered", "recovered"]);
});

it("pictures are seen again, also where the device is lost while they are seen", async () => {
  const seen: string[] = [];
  const models = ["a", "b", "c"].map((name) => {
    const model = new FakeModel(sum);
    if (name === "b") model.failAt = 3;
    return { ...loadedOf(model).loaded, name, model };
  });
  let at = 0;
  const running = {
    now: () => models[at]! as never,
    recover: async <T>(error: unknown, work: (now: never) => T | Promise<T>): Promise<T> => {
      for (;;) {
        if (!(error instanceof DeviceLostError)) throw error;
        at++;
        try {
          return await work(models[at]! as never);
        } catch (next) {
          error = next;
        }
      }
    },
  };
  const eyes = {
    async see({ name }: { name: string }, prompt: number[]) {
      seen.push(name);
      if (name === "a") throw new DeviceLostError("reset");
      return prompt.map((token) => token + seen.length);
    },
  };
  const request = { pictures: [{}], sampling: { seed: 0 }, host: HOST_OFF, maxTokens: 8, n: 1, stop: [] };
  const given = { kv: new (await import("../src/decode/index.js")).CachedTokens(), depth: 4, interrupted: () => false };
  const asked = [PROMPT, request, 0, undefined];
  let said = "";
  for await (const delta of answerOn(
    running,
    eyes as never,
    given,
    ...(asked as never as [never, never, never, never]),
  ))
    said += (delta as { text: string }).text;
  expect(seen).toEqual(["a", "b", "c"]);
  expect(models[2]!.model.kv.slice(0, PROMPT.length)).toEqual(PROMPT.map((token) => token + 3));
  expect(said.trim().split(" ")).toHaveLength(8);
});
