// The browsers' Prompt API over an engine: sessions, streams, constraints, tools, overflow, and the native one.
import { afterEach, describe, expect, it, vi } from "vitest";
import { Engine } from "../src/engine/index.js";
import { DeviceLostError, InvalidRequestError, NetworkError, UnloadedError } from "../src/errors.js";
import { createLanguageModel, install, type LanguageModelStatic, type Session } from "../src/prompt_api/index.js";
import type { CreateOptions, Tool } from "../src/prompt_api/types.js";
import { open } from "./fake_engine.js";
import { type Reply, sourceOf } from "./fake_source.js";

const { isInCache } = vi.hoisted(() => ({ isInCache: vi.fn(async (_url: string) => false) }));
vi.mock("../src/engine/cached.js", async (original) => ({ ...(await original<object>()), isInCache }));

type Globals = { LanguageModel?: unknown; navigator?: unknown };
const globals = globalThis as Globals;

async function sessionOf(replies: Reply[], options: CreateOptions = {}, contextLength?: number) {
  const made = sourceOf(replies, contextLength);
  const LanguageModel = createLanguageModel({ bundle: made.source });
  return { session: await LanguageModel.create(options), LanguageModel, ...made };
}
const said = (asked: { messages: readonly { role: string; content: unknown }[] }): string[] =>
  asked.messages.map(({ role, content }) => `${role}: ${String(content)}`);
async function read(stream: ReadableStream<string>): Promise<string[]> {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
}

afterEach(() => {
  delete globals.LanguageModel;
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

describe("a session", () => {
  it("keeps its conversation", async () => {
    const initialPrompts = [{ role: "system" as const, content: "Be brief." }];
    const { session, asked } = await sessionOf([{ text: ["o", "ne"] }, { text: ["two"] }], { initialPrompts });
    expect(session.contextUsage).toBe(3);
    expect(await session.prompt("first")).toBe("one");
    expect(session.contextUsage).toBe(5 + 2); // the fake's prompt by words, the answer by pieces
    expect(
      await read(session.promptStreaming([{ role: "user", content: [{ type: "text", value: "second" }] }])),
    ).toEqual(["two"]);
    expect(said(asked[1]!)).toEqual(["system: Be brief.", "user: first", "assistant: one", "user: second"]);
    expect([session.inputUsage, session.inputQuota]).toEqual([session.contextUsage, session.contextWindow]);
  });

  it("works on a whole engine", async () => {
    const { engine } = open();
    vi.spyOn(engine, "encodeChat").mockImplementation((messages) => messages.map(() => 1));
    const session = await createLanguageModel({ bundle: engine }).create({ temperature: 0, topK: 1 });
    const own = await engine.chat.completions.create({
      messages: [{ role: "user", content: "hi" }],
      temperature: 0,
      stream: false,
    });
    expect(await session.prompt("hi")).toBe(own.choices[0]!.message.content);
    expect((await read(session.promptStreaming("hi"))).length).toBeGreaterThan(1);
  });

  it("appends, and joins what the user says in a row", async () => {
    const { session, asked } = await sessionOf([{ text: ["ok"] }]);
    await session.append([
      { role: "system", content: "S" },
      { role: "user", content: "a" },
    ]);
    await session.append("b");
    expect(session.contextUsage).toBe(2 + 3);
    await session.prompt([
      { role: "user", content: "c" },
      { role: "assistant", content: "d" },
    ]);
    expect(said(asked[0]!)).toEqual(["system: S", "user: a\n\nb\n\nc", "assistant: d"]);
  });

  it("answers prompts in order, and clones what is said so far", async () => {
    const { session, asked } = await sessionOf([{ text: ["one"] }, { text: ["two"] }, { text: ["three"] }]);
    const first = session.prompt("a");
    const cloning = session.clone();
    const second = session.prompt("b");
    expect(await Promise.all([first, second])).toEqual(["one", "two"]);
    const copy = await cloning;
    expect(copy).toBeInstanceOf(session.constructor);
    expect(await copy.prompt("c")).toBe("three");
    expect(said(asked[2]!)).toEqual(["user: a", "assistant: one", "user: c"]);
    session.destroy();
    expect(await copy.prompt("d")).toBe("three");
  });

  it("drops reasoning", async () => {
    const { session, asked } = await sessionOf([{ reasoning: "hm", text: ["yes"] }]);
    expect(await session.prompt("a")).toBe("yes");
    await session.prompt("b");
    expect(JSON.stringify(asked[1]!.messages)).not.toContain("hm");
  });

  it("goes on from a prefix", async () => {
    const { session, asked } = await sessionOf([{ text: ["```to", "ml\n[x", "]"] }, { text: ["ok"] }]);
    const prompt = [
      { role: "user" as const, content: "A sheet." },
      { role: "assistant" as const, content: "```toml\n", prefix: true },
    ];
    expect(await read(session.promptStreaming(prompt))).toEqual(["[x", "]"]);
    expect(asked[0]!.format).toMatchObject({
      kind: "tags",
      tags: { format: { elements: [{ type: "const_string", value: "```toml\n" }, { type: "any_text" }] } },
    });
    await session.prompt("next");
    expect(said(asked[1]!)[1]).toBe("assistant: ```toml\n[x]");
  });
});

describe("a constraint", () => {
  const schema = { type: "object", properties: { n: { type: "number" } } };
  it("is a schema or an expression, of which the model is told or not", async () => {
    const { session, asked } = await sessionOf([{ text: ["{}"] }]);
    await session.prompt("a", { responseConstraint: schema });
    await session.prompt("b", { responseConstraint: /^[ab]+$/u, omitResponseConstraintInput: true });
    expect(asked[0]!.format).toMatchObject({ kind: "schema", schema });
    expect(said(asked[0]!)[0]).toBe(`user: a\n\nAnswer with JSON of this schema: ${JSON.stringify(schema)}`);
    expect(asked[1]!.format).toMatchObject({ kind: "regex", regex: "^[ab]+$" });
    expect(said(asked[1]!).at(-1)).toBe("user: b");
    const prefixed = [{ role: "assistant" as const, content: "x: ", prefix: true }];
    await session.prompt(prefixed, { responseConstraint: schema });
    expect(asked[2]!.format).toMatchObject({ tags: { format: { elements: [{}, { json_schema: schema }] } } });
    const told = await session.measureContextUsage("x", { responseConstraint: schema });
    expect(told).toBeGreaterThan(await session.measureContextUsage("x"));
  });

  it("is refused where it is none, or is not supported", async () => {
    const { session, source } = await sessionOf([{ text: ["{}"] }]);
    const ask = (responseConstraint: unknown): Promise<string> =>
      session.prompt("a", { responseConstraint } as { responseConstraint: object });
    for (const wrong of [[], "x", 3]) await expect(ask(wrong)).rejects.toThrow(TypeError);
    await expect(session.prompt("a", { omitResponseConstraintInput: true })).rejects.toThrow(TypeError);
    await expect(ask(/a/i)).rejects.toMatchObject({ name: "NotSupportedError" });
    const refused = new InvalidRequestError("response_format.json_schema.schema.not", "is not supported.");
    vi.spyOn(source.chat.completions, "create").mockRejectedValueOnce(refused);
    await expect(ask({})).rejects.toMatchObject({ name: "NotSupportedError", cause: refused });
    expect(session.contextUsage).toBe(0);
  });
});

describe("tools", () => {
  const tool = (execute: Tool["execute"]): Tool => ({
    name: "weather",
    description: "Of a city.",
    inputSchema: { type: "object", properties: { city: { type: "string" } } },
    execute,
  });
  const call = (json: string): Reply => ({ calls: [{ id: "abcdefghi", name: "weather", arguments: json }] });

  it("are called until the model answers in words", async () => {
    const execute = vi.fn(async ({ city }: Record<string, unknown>) => ({ sky: `rain in ${String(city)}` }));
    const replies = [call('{"city": "Vienna"}'), call('{"city": "Graz"}'), { text: ["Rain."] }];
    const { session, asked } = await sessionOf(replies, { tools: [tool(execute)] });
    expect(await session.prompt("weather?")).toBe("Rain.");
    expect(execute.mock.calls).toEqual([[{ city: "Vienna" }], [{ city: "Graz" }]]);
    expect(asked[1]!.messages.slice(1)).toMatchObject([
      { role: "assistant", tool_calls: [{ function: { name: "weather", arguments: { city: "Vienna" } } }] },
      { role: "tool", name: "weather", tool_call_id: "abcdefghi", content: '{"sky":"rain in Vienna"}' },
    ]);
    await session.prompt("and now?");
    expect(asked.at(-1)!.messages).toHaveLength(1 + 4 + 1 + 1);
  });

  it("tell the model what they fail with", async () => {
    const failing = tool(() => {
      throw new Error("no sky today");
    });
    const { session, asked } = await sessionOf([call("{}"), { text: ["Sorry."] }], { tools: [failing] });
    expect(await session.prompt("weather?")).toBe("Sorry.");
    expect(said(asked[1]!).at(-1)).toBe("tool: Error: no sky today");
  });

  it("do not go on for ever, and end with the signal", async () => {
    const endless = await sessionOf([call("{}")], { tools: [tool(() => "x")] });
    await expect(endless.session.prompt("a")).rejects.toMatchObject({ name: "OperationError" });
    expect(endless.session.contextUsage).toBe(0);
    const stop = new AbortController();
    const hanging = await sessionOf([call("{}")], { tools: [tool(() => new Promise(() => {}))] });
    const asking = hanging.session.prompt("a", { signal: stop.signal });
    await vi.waitFor(() => expect(hanging.state.ended).toEqual(["done"]));
    stop.abort();
    await expect(asking).rejects.toMatchObject({ name: "AbortError" });
    hanging.state.replies = [{ text: ["free"] }];
    expect(await hanging.session.prompt("b")).toBe("free");
  });

  it("need what they are called with", async () => {
    const LanguageModel = createLanguageModel({ bundle: sourceOf([{}]).source });
    const create = (changes: object) =>
      LanguageModel.create({ tools: [{ ...tool(() => ""), ...changes }] } as CreateOptions);
    await expect(create({ name: "" })).rejects.toThrow(TypeError);
    await expect(create({ inputSchema: null })).rejects.toThrow(TypeError);
    await expect(create({ execute: undefined })).rejects.toMatchObject({ name: "NotSupportedError" });
    await expect(create({ execute: 3 })).rejects.toThrow(TypeError);
  });
});

describe("the context window", () => {
  const words = (count: number, word: string): string => Array(count).fill(word).join(" ");

  it("overflows by dropping the oldest exchanges, and tells of it", async () => {
    const initialPrompts = [{ role: "system" as const, content: "S" }];
    const { session, asked } = await sessionOf([{ text: ["ok"] }], { initialPrompts }, 60);
    const events: string[] = [];
    session.oncontextoverflow = () => events.push("handler");
    session.addEventListener("quotaoverflow", () => events.push("listener"));
    for (const word of ["a", "b", "c"]) await session.prompt(words(15, word));
    expect(events).toEqual(["handler", "listener"]);
    const last = said(asked.at(-1)!);
    expect(last[0]).toBe("system: S");
    expect(last.join()).not.toContain("user: a");
    expect(last.at(-1)).toBe(`user: ${words(15, "c")}`);
    session.oncontextoverflow = null;
    expect(session.oncontextoverflow).toBeNull();
    await session.append(words(20, "d"));
    expect(events.filter((name) => name === "handler")).toHaveLength(1);
    expect(session.contextUsage).toBeLessThan(60);
  });

  it("has no room for some inputs, which change nothing", async () => {
    const { session } = await sessionOf([{ text: ["ok"] }], {}, 30);
    await session.prompt("a");
    const before = session.contextUsage;
    const full = { name: "QuotaExceededError", requested: 41, quota: 30 };
    await expect(session.prompt(words(40, "x"))).rejects.toMatchObject(full);
    await expect(session.append(words(40, "x"))).rejects.toMatchObject(full);
    await expect(read(session.promptStreaming(words(40, "x")))).rejects.toMatchObject(full);
    expect(session.contextUsage).toBe(before);
    expect(await session.measureInputUsage(words(40, "x"))).toBe(41);
    const initialPrompts = [{ role: "user" as const, content: words(40, "x") }];
    await expect(sessionOf([{}], { initialPrompts }, 30)).rejects.toMatchObject(full);
  });

  it("drops more where tools take room that nobody counted", async () => {
    const { session, source } = await sessionOf([{ text: ["ok"] }], {}, 60);
    await session.prompt("a");
    await session.prompt("b");
    const create = source.chat.completions.create.bind(source.chat.completions);
    const spy = vi.spyOn(source.chat.completions, "create").mockImplementation(async (request) => {
      if (request.messages.length > 1)
        throw Object.assign(new Error("full"), { code: "context-length", promptTokens: 99, contextLength: 60 });
      return create(request);
    });
    const overflow = vi.fn();
    session.addEventListener("contextoverflow", overflow);
    expect(await session.prompt("c")).toBe("ok");
    expect([spy.mock.calls.length, overflow.mock.calls.length]).toEqual([3, 1]);
    const two = session.prompt([
      { role: "user", content: "x" },
      { role: "assistant", content: "y" },
    ]);
    await expect(two).rejects.toMatchObject({ name: "QuotaExceededError", requested: 99, quota: 60 });
  });
});

describe("an end", () => {
  it("by the prompt's signal leaves the session as it was", async () => {
    const { session, state, asked } = await sessionOf([{ endless: true }]);
    const stop = new AbortController();
    const reason = new Error("enough");
    const asking = session.prompt("a", { signal: stop.signal });
    const waiting = session.prompt("b", { signal: stop.signal });
    const both = Promise.allSettled([asking, waiting]);
    await vi.waitFor(() => expect(state.tokens).toBeGreaterThan(2));
    stop.abort(reason);
    expect((await both).map((one) => (one as PromiseRejectedResult).reason)).toEqual([reason, reason]);
    await vi.waitFor(() => expect(state.generating).toBe(0));
    expect([asked.length, session.contextUsage]).toEqual([1, 0]);
    await expect(session.prompt("c", { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
    state.replies = [{ text: ["ok"] }];
    expect(await session.prompt("d")).toBe("ok");
    expect(said(asked.at(-1)!)).toEqual(["user: d"]);
  });

  it("by a stream that is left, or whose signal fires", async () => {
    const { session, state } = await sessionOf([{ endless: true }]);
    for await (const _ of session.promptStreaming("a")) break;
    await vi.waitFor(() => expect(state.generating).toBe(0));
    const stop = new AbortController();
    const reading = read(session.promptStreaming("a", { signal: stop.signal }));
    setTimeout(() => stop.abort(), 10);
    await expect(reading).rejects.toMatchObject({ name: "AbortError" });
    await vi.waitFor(() => expect(state.generating).toBe(0));
    const gone = read(session.promptStreaming("a", { signal: AbortSignal.abort() }));
    await expect(gone).rejects.toMatchObject({ name: "AbortError" });
  });

  it("by destroy, or the signal of create", async () => {
    const create = new AbortController();
    const { session, state } = await sessionOf([{ endless: true }], { signal: create.signal });
    const copy = await session.clone();
    const asking = session.prompt("a");
    const streaming = read(session.promptStreaming("a"));
    const both = Promise.allSettled([asking, streaming]);
    await vi.waitFor(() => expect(state.tokens).toBeGreaterThan(2));
    create.abort();
    for (const one of await both) expect(one).toMatchObject({ reason: { name: "AbortError" } });
    session.destroy();
    for (const late of [session.prompt("b"), session.clone(), session.append("c"), session.measureContextUsage("d")])
      await expect(late).rejects.toMatchObject({ name: "InvalidStateError" });
    await expect(read(session.promptStreaming("b"))).rejects.toMatchObject({ name: "InvalidStateError" });
    state.replies = [{ text: ["ok"] }];
    expect(await copy.prompt("e")).toBe("ok");
    await expect(sessionOf([{}], { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
  });

  it("by an error of the engine's", async () => {
    const lost = new DeviceLostError("The GPU is gone.");
    const { session, state } = await sessionOf([{ text: ["a"], error: lost }]);
    await expect(session.prompt("a")).rejects.toMatchObject({ name: "UnknownError", cause: lost });
    await expect(read(session.promptStreaming("a"))).rejects.toMatchObject({ name: "UnknownError" });
    state.replies = [{ error: new UnloadedError() }];
    await expect(session.prompt("a")).rejects.toMatchObject({ name: "InvalidStateError" });
    expect(session.contextUsage).toBe(0);
  });
});

describe("input", () => {
  it("is checked", async () => {
    const { session } = await sessionOf([{ text: ["ok"] }]);
    const ask = (input: unknown): Promise<string> => session.prompt(input as string);
    const part = (content: unknown, role = "user"): unknown => [{ role, content }];
    for (const wrong of [3, null, [null], part("x", "tool"), part(3), part([{ type: "text", value: 3 }])])
      await expect(ask(wrong)).rejects.toThrow(TypeError);
    for (const type of ["image", "audio", "tool-call", "tool-response"])
      await expect(ask(part([{ type, value: new Blob() }]))).rejects.toMatchObject({ name: "NotSupportedError" });
    const prefix = { role: "assistant", content: "x", prefix: true };
    for (const wrong of [[prefix, { role: "user", content: "y" }], [{ ...prefix, role: "user" }]])
      await expect(ask(wrong)).rejects.toMatchObject({ name: "SyntaxError" });
    await expect(session.append([prefix] as never)).rejects.toMatchObject({ name: "SyntaxError" });
    const system = { role: "system", content: "S" };
    await expect(ask([{ role: "user", content: "x" }, system])).rejects.toThrow(TypeError);
    expect(await ask([system, { role: "user", content: "x" }])).toBe("ok");
    await expect(ask([system])).rejects.toThrow(TypeError);
    expect(await ask([])).toBe("ok");
    const stopped = session.measureContextUsage("x", { signal: AbortSignal.abort() });
    await expect(stopped).rejects.toMatchObject({ name: "AbortError" });
  });

  it("has settings, by mode or by number", async () => {
    const settings = async (options: object): Promise<unknown[]> => {
      const { session } = await sessionOf([{}], options);
      return [session.temperature, session.topK, session.samplingMode];
    };
    expect(await settings({})).toEqual([0.8, 40, "balanced"]);
    expect(await settings({ samplingMode: "most-predictable" })).toEqual([0, 40, "most-predictable"]);
    expect(await settings({ temperature: Infinity, topK: 3.7 })).toEqual([2, 3, null]);
    expect(await settings({ topK: 1e12 })).toEqual([0.8, 1000, null]);
    for (const wrong of [{ temperature: -1 }, { topK: 0 }]) await expect(settings(wrong)).rejects.toThrow(RangeError);
    for (const wrong of [{ samplingMode: "wild" }, { samplingMode: "creative", topK: 1 }, { topK: "x" }])
      await expect(settings(wrong)).rejects.toThrow(TypeError);
    const { session, asked } = await sessionOf([{ text: ["x"] }], { temperature: 0.5, topK: 7 });
    await session.prompt("a");
    expect(asked[0]!.request!.sampling).toMatchObject({ temperature: 0.5, topK: 7 });
    const { LanguageModel } = await sessionOf([{}]);
    expect(await LanguageModel.params()).toMatchObject({ maxTemperature: 2, defaultTopK: 40 });
  });

  it("is expected to be text, in any language", async () => {
    const { LanguageModel } = await sessionOf([{}]);
    const image = { expectedInputs: [{ type: "image" }] };
    expect(await LanguageModel.availability(image)).toBe("unavailable");
    await expect(LanguageModel.create(image)).rejects.toMatchObject({ name: "NotSupportedError" });
    const text = { expectedInputs: [{ type: "text", languages: ["en", "ja"] }], expectedOutputs: [{ type: "text" }] };
    expect(await LanguageModel.availability(text)).toBe("available");
    const wrong = { expectedInputs: [{ type: "text", languages: ["not a language"] }] };
    await expect(LanguageModel.availability(wrong)).rejects.toThrow(RangeError);
    const thinking = { thinking: { effort: "high" } };
    expect(await LanguageModel.availability(thinking as object)).toBe("unavailable");
  });
});

describe("a bundle", () => {
  const withGpu = (adapter: object | null = {}): unknown =>
    vi.stubGlobal("navigator", { gpu: { requestAdapter: async () => adapter } });
  type Load = Parameters<typeof Engine.load>;

  it("is loaded once, by the first session, which hears how far it is", async () => {
    withGpu();
    const { source } = sourceOf([{ text: ["ok"] }]);
    const unload = vi.fn(async () => {});
    let finish = (): void => {};
    const load = vi.spyOn(Engine, "load").mockImplementation(async (...[, options]: Load) => {
      options!.onProgress!({ fraction: 0.25 } as never);
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      options!.onProgress!({ fraction: 0.2 } as never);
      options!.onProgress!({ fraction: 1 } as never);
      return Object.assign(source, { unload }) as never;
    });
    const LanguageModel = createLanguageModel({ bundle: "./b/", load: { contextLength: 99 } });
    expect(await LanguageModel.availability()).toBe("downloadable");
    const loaded: number[] = [];
    const monitor = (target: EventTarget): void =>
      target.addEventListener("downloadprogress", (event) => loaded.push((event as ProgressEvent).loaded));
    const creating = [LanguageModel.create({ monitor }), LanguageModel.create()];
    await vi.waitFor(() => expect(load).toHaveBeenCalledTimes(1));
    expect(await LanguageModel.availability()).toBe("downloading");
    await vi.waitFor(() => expect(loaded).toEqual([0, 0.25]));
    finish();
    const [one] = await Promise.all(creating);
    expect(loaded).toEqual([0, 0.25, 1]);
    expect(load.mock.calls[0]).toMatchObject(["./b/", { contextLength: 99 }]);
    expect(await one!.prompt("x")).toBe("ok");
    const again: number[] = [];
    const other = (target: EventTarget): void =>
      target.addEventListener("downloadprogress", (event) => again.push((event as ProgressEvent).loaded));
    await LanguageModel.create({ monitor: other });
    expect(again).toEqual([0, 1]);
    expect(await LanguageModel.availability()).toBe("available");
    await LanguageModel.unload();
    expect(unload).toHaveBeenCalledTimes(1);
    expect(await LanguageModel.availability()).toBe("downloadable");
  });

  it("is available before its first session where it is kept", async () => {
    withGpu();
    isInCache.mockResolvedValueOnce(true);
    expect(await createLanguageModel({ bundle: "https://x.test/b/" }).availability()).toBe("available");
    expect(isInCache).toHaveBeenCalledWith("https://x.test/b/");
    isInCache.mockRejectedValueOnce(new Error("no storage"));
    expect(await createLanguageModel({ bundle: "https://x.test/b/" }).availability()).toBe("downloadable");
  });

  it("is not loaded on, when all who asked have gone", async () => {
    withGpu();
    const signals: AbortSignal[] = [];
    vi.spyOn(Engine, "load").mockImplementation(async (...[, options]: Load) => {
      signals.push(options!.signal!);
      return new Promise((_, reject) => options!.signal!.addEventListener("abort", () => reject(new Error("gone"))));
    });
    const LanguageModel = createLanguageModel({ bundle: "./b/" });
    const stops = [new AbortController(), new AbortController()];
    const creating = Promise.allSettled(stops.map(({ signal }) => LanguageModel.create({ signal })));
    await vi.waitFor(() => expect(signals).toHaveLength(1));
    stops[0]!.abort();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(signals[0]!.aborted).toBe(false);
    stops[1]!.abort();
    for (const one of await creating) expect(one).toMatchObject({ reason: { name: "AbortError" } });
    expect(signals[0]!.aborted).toBe(true);
    expect(await LanguageModel.availability()).toBe("downloadable");
  });

  it("may fail to load, and be loaded again", async () => {
    withGpu();
    const { source } = sourceOf([{ text: ["ok"] }]);
    const offline = new NetworkError("No answer.");
    vi.spyOn(Engine, "load")
      .mockRejectedValueOnce(offline)
      .mockResolvedValueOnce(source as never);
    const LanguageModel = createLanguageModel({ bundle: "./b/" });
    await expect(LanguageModel.create()).rejects.toMatchObject({ name: "NetworkError", cause: offline });
    expect(await (await LanguageModel.create()).prompt("x")).toBe("ok");
  });

  it("needs a GPU", async () => {
    for (const without of [() => vi.stubGlobal("navigator", {}), () => withGpu(null)]) {
      without();
      const LanguageModel = createLanguageModel({ bundle: "./b/" });
      expect(await LanguageModel.availability()).toBe("unavailable");
      await expect(LanguageModel.create()).rejects.toMatchObject({ name: "NotSupportedError" });
    }
  });
});

describe("the browser's own", () => {
  function native(availability: string): LanguageModelStatic {
    const session = { theirs: true } as unknown as Session;
    const own = { availability: vi.fn(async () => availability), create: vi.fn(async () => session) };
    globals.LanguageModel = own;
    return own as unknown as LanguageModelStatic;
  }

  it("is preferred where it has a model", async () => {
    const own = native("available");
    const LanguageModel = createLanguageModel({ bundle: sourceOf([{}]).source });
    const options = { temperature: 1, topK: 3 };
    expect(await LanguageModel.create(options)).toEqual({ theirs: true });
    expect(own.create).toHaveBeenCalledWith(options);
    expect(await LanguageModel.availability()).toBe("available");
    const ours = createLanguageModel({ bundle: sourceOf([{}]).source, preferNative: false });
    expect(await ours.create()).toBeInstanceOf(ours);
  });

  it("is left where it has none", async () => {
    native("unavailable");
    const LanguageModel = createLanguageModel({ bundle: sourceOf([{ text: ["ours"] }]).source });
    expect(await (await LanguageModel.create()).prompt("x")).toBe("ours");
  });

  it("stays where it is when ours is installed", async () => {
    const own = native("available");
    expect(install({ bundle: sourceOf([{}]).source })).toBe(own);
    delete globals.LanguageModel;
    const ours = install({ bundle: sourceOf([{ text: ["ours"] }]).source });
    expect(globals.LanguageModel).toBe(ours);
    expect(await (await ours.create()).prompt("x")).toBe("ours"); // and does not ask itself
    expect(await ours.availability()).toBe("available");
  });
});
