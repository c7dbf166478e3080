// Tests WebLLM's engine over engines without a GPU: models and their requests.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChatCompletion, ChatCompletionChunk, Completion } from "../src/chat/index.js";
import type { LoadOptions } from "../src/engine/options.js";
import { CancelledError, InvalidRequestError } from "../src/errors.js";
import { Engine } from "../src/index.js";
import * as webllm from "../src/webllm/index.js";
import { CreateMLCEngine, type InitProgressReport, MLCEngine, type MLCEngineConfig } from "../src/webllm/index.js";
import { open, PROMPT } from "./fake_engine.js";
import { FakeModel, sum, upTo } from "./fake_model.js";

type Opened = ReturnType<typeof open>;
let opened: (Opened & { url: string; options: LoadOptions; unloads: number })[] = [];
let make: () => Opened = open;
let warnings: string[] = [];
const messages = [{ role: "user" as const, content: "x" }];
const request = { messages, temperature: 0, max_tokens: 5 };
const APP = {
  model_list: [
    { model: "https://a.example/one/", model_id: "one", model_lib: "", overrides: { temperature: 0, top_p: 0.5 } },
    { model: "https://a.example/two/", model_id: "two", model_lib: "" },
  ],
};
const textOf = (answer: unknown): string => (answer as ChatCompletion).choices[0]!.message.content!;

beforeEach(() => {
  opened = [];
  warnings = [];
  make = open;
  vi.spyOn(console, "warn").mockImplementation((text) => void warnings.push(String(text)));
  vi.spyOn(Engine, "load").mockImplementation(async (url, options = {}) => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (options.signal?.aborted) throw new CancelledError("The load was cancelled.", options.signal.reason);
    const one = { ...make(), url: url as string, options, unloads: 0 };
    const unload = one.engine.unload.bind(one.engine);
    one.engine.unload = async () => {
      one.unloads++;
      await unload();
    };
    opened.push(one);
    return one.engine;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});
const load = (config: MLCEngineConfig = {}, ids: string | string[] = "one"): Promise<MLCEngine> =>
  CreateMLCEngine(ids, { appConfig: APP, ...config });
async function all<T>(chunks: unknown): Promise<T[]> {
  const list: T[] = [];
  for await (const chunk of chunks as AsyncIterable<T>) list.push(chunk);
  return list;
}

describe("a catalog", () => {
  const one = {
    id: "Llama-3.2-1B-Instruct-q4f32_1",
    model: "meta-llama/Llama-3.2-1B-Instruct",
    family: "llama",
    quantization: "q4f32_1",
    parameters: 1,
    context_length: 8192,
    bytes: 1,
    tiers: [{ name: "base", features: [], limits: {}, memory: [{ context: 1024, bytes: 1 }] }],
    licence: "",
    manifest_sha256: "0".repeat(64),
    url: "x-1/",
  };
  const fetch = async (): Promise<Response> =>
    new Response(JSON.stringify({ format: "mlcweb-catalog", version: 1, models: [one] }));
  const config = { catalog: "https://cdn.test/", fetch, cache: false };

  beforeEach(() => {
    const adapter = { features: new Set(), limits: {}, info: { architecture: "", device: "", description: "" } };
    vi.stubGlobal("navigator", { gpu: { requestAdapter: async () => adapter } });
  });
  afterEach(() => vi.unstubAllGlobals());

  it("has the bundles of ids, also of those that WebLLM's list has", async () => {
    await CreateMLCEngine("Llama-3.2-1B-Instruct-q4f32_1-MLC", config);
    expect(opened.at(-1)!.url).toBe(`https://cdn.test/x-1/#sha256=${"0".repeat(64)}`);
    await expect(CreateMLCEngine("other-MLC", config)).rejects.toMatchObject({ name: "ModelNotFoundError" });
  });
  it("is not asked for an app's own records, nor for paths", async () => {
    await load(config);
    expect(opened.at(-1)!.url).toBe(APP.model_list[0]!.model);
    await CreateMLCEngine("https://b.test/one/", config);
    expect(opened.at(-1)!.url).toBe("https://b.test/one/");
  });
});

describe("an answer", () => {
  it("has the model's id and the time in seconds, and the engine keeps its words and speed", async () => {
    const mlc = await load();
    vi.spyOn(Date, "now").mockReturnValue(1_700_000_000_900);
    const answer = (await mlc.chatCompletion(request)) as ChatCompletion;
    expect(answer).toMatchObject({ model: "one", created: 1_700_000_000 });
    expect(await mlc.getMessage()).toBe(textOf(answer));
    expect(await mlc.runtimeStatsText()).toMatch(
      /^prefill: [\d.]+ tokens\/sec, decoding: (?!0\.0000)[\d.]+ tokens\/sec$/,
    );
  });

  it("counts the tokens of the prompt that were not prefilled before", async () => {
    const mlc = await load();
    const first = (await mlc.chatCompletion(request)) as ChatCompletion;
    const second = (await mlc.chatCompletion(request)) as ChatCompletion;
    expect(first.usage.prompt_tokens).toBe(PROMPT.length);
    expect(second.usage).toMatchObject({ prompt_tokens: 1, completion_tokens: 5, total_tokens: 6 });
    const { extra } = second.usage;
    expect(extra.e2e_latency_s).toBeGreaterThan(extra.time_to_first_token_s);
    expect(extra.time_per_output_token_s).toBeCloseTo(1 / extra.decode_tokens_per_s, 9);
  });

  it("comes as a stream whose last chunk has the usage that was asked for", async () => {
    const mlc = await load();
    const stream = { ...request, stream: true as const, n: 2, stream_options: { include_usage: true } };
    const chunks = await all<ChatCompletionChunk>(await mlc.chat.completions.create(stream));
    expect(new Set(chunks.map(({ model, created, id }) => `${model} ${created} ${id}`)).size).toBe(1);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: PROMPT.length } });
    const last = chunks.flatMap(({ choices: [one] }) => (one?.index === 1 ? [one.delta.content ?? ""] : [])).join("");
    expect(await mlc.getMessage()).toBe(last); // the last choice's
  });

  it("is what chatOpts and the record ask for, where the request does not", async () => {
    const mlc = new MLCEngine({ appConfig: APP });
    await mlc.reload("one", { top_p: 0.25, presence_penalty: 0.5 });
    const { model } = opened[0]!;
    await mlc.chatCompletion({ messages, max_tokens: 2, presence_penalty: 0 });
    expect(model.lastSampling).toMatchObject({ temperature: 0, topP: 0.25 });
    await mlc.chatCompletion({ messages, max_tokens: 2, presence_penalty: 0, temperature: 0.5, top_p: null });
    expect(model.lastSampling).toMatchObject({ temperature: 0.5, topP: 0.25 });
  });

  it("goes on past the model's end where it is asked to, and past stop strings", async () => {
    make = () => open(new FakeModel(upTo(6)));
    const mlc = await load();
    expect(textOf(await mlc.chatCompletion(request))).toBe("5 6 ");
    const on = (await mlc.chatCompletion({ ...request, ignore_eos: true, stop: "6" })) as ChatCompletion;
    expect(on.choices[0]).toMatchObject({ message: { content: "5 6 99 99 99 " }, finish_reason: "length" });
  });

  it("is refused by the field's name", async () => {
    const mlc = await load();
    for (const [field, wrong] of [
      ["extra_body.resumable", { extra_body: { resumable: { enabled: true } } }],
      ["extra_body.enable_latency_breakdown", { extra_body: { enable_latency_breakdown: "yes" } }],
      ["extra_body.other", { extra_body: { other: 1 } }],
      ["temperature", { temperature: 3 }],
      ["ignore_eos", { ignore_eos: true, response_format: { type: "json_object" } }],
    ] as const)
      await expect(mlc.chatCompletion({ ...request, ...(wrong as object) })).rejects.toMatchObject({ param: field });
    const fine = { extra_body: { enable_thinking: undefined, resumable: null, other: undefined } };
    expect(textOf(await mlc.chatCompletion({ ...request, ...fine }))).not.toBe("");
    await expect(mlc.embedding({ input: "x" })).rejects.toThrow(/is for engine\.chat\.completions\.create alone/);
  });

  it("says where each token's seconds went, where it is asked to", async () => {
    const mlc = await load();
    const extra_body = { enable_latency_breakdown: true };
    const { usage } = (await mlc.chatCompletion({ ...request, extra_body })) as ChatCompletion;
    const { totalTime, sampleTime, grammarBitmaskTime } = usage.extra.latencyBreakdown!;
    expect([totalTime.length, sampleTime.length, grammarBitmaskTime.length]).toEqual([5, 5, 0]);
    expect(((await mlc.chatCompletion(request)) as ChatCompletion).usage.extra.latencyBreakdown).toBeUndefined();
  });
});

describe("a completion", () => {
  it("begins with its prompt where it is asked to, in each choice", async () => {
    const mlc = await load();
    const asked = { prompt: "Once ", temperature: 0, max_tokens: 3, n: 2 };
    const plain = (await mlc.completions.create(asked)) as Completion;
    const echo = (await mlc.completions.create({ ...asked, echo: true })) as Completion;
    expect(echo.choices.map(({ text }) => text)).toEqual(plain.choices.map(({ text }) => `Once ${text}`));
    const chunks = await all<Completion>(await mlc.completions.create({ ...asked, echo: true, stream: true }));
    const texts = [0, 1].map((i) => chunks.flatMap(({ choices: [one] }) => (one?.index === i ? [one.text] : [])));
    expect(texts.map((parts) => parts[0])).toEqual(["Once ", "Once "]);
    expect(texts.map((parts) => parts.join(""))).toEqual(echo.choices.map(({ text }) => text));
    expect(await mlc.getMessage()).toBe(plain.choices[1]!.text); // as WebLLM has it: what was generated
  });

  it("refuses what WebLLM refuses", async () => {
    const mlc = await load();
    for (const field of ["suffix", "best_of"])
      await expect(mlc.completion({ prompt: "x", [field]: 1 })).rejects.toMatchObject({ param: field });
  });
});

describe("a logit processor", () => {
  it("chooses among the logits, hears tokens, and hears of a new conversation", async () => {
    const heard: (number | string)[] = [];
    const processor = {
      processLogits: (logits: Float32Array) => logits.map((x, i) => (i === 7 ? 100 : x)),
      processSampledToken: (token: number) => void heard.push(token),
      resetState: () => void heard.push("reset"),
    };
    const mlc = await load({ logitProcessorRegistry: new Map([["one", processor]]) }, ["one", "two"]);
    const answer = await mlc.chatCompletion({ ...request, model: "one", max_tokens: 2 });
    expect(textOf(answer)).toBe("7 7 ");
    expect(heard).toEqual(["reset", 7, 7]);
    heard.length = 0;
    const next = [...messages, { role: "assistant" as const, content: "7 7 " }, ...messages];
    await mlc.chatCompletion({ ...request, model: "one", messages: next, max_tokens: 1 });
    expect(heard).toEqual([7]); // it goes on
    await mlc.resetChat(false, "one");
    expect(heard).toEqual([7, "reset"]);
    expect(textOf(await mlc.chatCompletion({ ...request, model: "two", max_tokens: 2 }))).not.toBe("7 7 ");
    mlc.setLogitProcessorRegistry(undefined);
    expect(textOf(await mlc.chatCompletion({ ...request, model: "one", max_tokens: 2 }))).not.toBe("7 7 ");
  });

  it("that returns no logits is refused, and the engine goes on", async () => {
    const processor = {
      processLogits: () => new Float32Array(3),
      processSampledToken: () => {},
      resetState: () => {},
    };
    const mlc = await load({ logitProcessorRegistry: new Map([["one", processor]]) });
    await expect(mlc.chatCompletion(request)).rejects.toMatchObject({ param: "processLogits" });
    mlc.setLogitProcessorRegistry(undefined);
    expect(textOf(await mlc.chatCompletion(request))).not.toBe("");
  });

  it("is used by forwardTokensAndSample, which goes on where the KV cache ends", async () => {
    const mlc = await load();
    const history = [5, 6];
    const first = await mlc.forwardTokensAndSample([...history], true);
    expect(first).toBe(sum(history));
    expect(await mlc.forwardTokensAndSample([first], false)).toBe(sum([...history, first]));
    expect(opened[0]!.engine.info.cachedTokens).toBe(3);
    expect(await mlc.runtimeStatsText()).not.toMatch(/ 0\.0000/);
    void mlc.resetChat(); // apps do not wait for it
    expect(await mlc.forwardTokensAndSample([5], true)).toBe(sum([5]));
  });
});

describe("several models", () => {
  it("are told apart by name, and loaded and freed together", async () => {
    const mlc = await load({}, ["one", "two"]);
    expect(mlc.getLoadedModelIds()).toEqual(["one", "two"]);
    expect(((await mlc.chatCompletion({ ...request, model: "two" })) as ChatCompletion).model).toBe("two");
    await expect(mlc.chatCompletion(request)).rejects.toMatchObject({ name: "UnclearModelToUseError", param: "model" });
    await expect(mlc.chatCompletion({ ...request, model: "three" })).rejects.toMatchObject({
      name: "SpecifiedModelNotFoundError",
    });
    await expect(mlc.getMessage()).rejects.toMatchObject({ name: "UnclearModelToUseError" });
    expect(await mlc.getMessage("two")).not.toBe("");
    expect(await mlc.getMessage("one")).toBe("");
    await mlc.unload();
    expect(opened.map(({ unloads }) => unloads)).toEqual([1, 1]);
    await expect(mlc.chatCompletion(request)).rejects.toMatchObject({ name: "ModelNotLoadedError", code: "unloaded" });
  });

  it("must be as many as their options, known, and each once", async () => {
    const mlc = new MLCEngine({ appConfig: APP });
    const names = [
      [["one", "two"], [{}], "ReloadArgumentSizeUnmatchedError"],
      [["one", "one"], undefined, "ReloadModelIdNotUniqueError"],
      [["three"], undefined, "ModelNotFoundError"],
    ] as const;
    for (const [ids, options, name] of names)
      await expect(mlc.reload([...ids], options && [...options])).rejects.toMatchObject({ name });
    expect(opened).toEqual([]);
    await mlc.reload("https://b.example/other/");
    expect(opened[0]!.url).toBe("https://b.example/other/");
  });

  it("leave none behind when one fails", async () => {
    let count = 0;
    make = () => {
      if (++count === 2) throw new Error("no room");
      return open();
    };
    const mlc = new MLCEngine({ appConfig: APP });
    await expect(mlc.reload(["one", "two"])).rejects.toThrow("no room");
    expect([mlc.getLoadedModelIds(), opened.map(({ unloads }) => unloads)]).toEqual([[], [1]]);
  });
});

describe("a reload", () => {
  it("is stopped by unload", async () => {
    const mlc = new MLCEngine({ appConfig: APP });
    const loading = mlc.reload("one");
    await mlc.unload();
    await loading; // as in WebLLM, it does not reject
    expect(warnings).toEqual(["mlcweb: unload() stopped a reload."]);
    expect([mlc.getLoadedModelIds(), opened.length]).toEqual([[], 0]);
  });

  it("is stopped by another, which wins, and none leaks", async () => {
    const mlc = new MLCEngine({ appConfig: APP });
    const first = expect(mlc.reload("one")).rejects.toBeInstanceOf(CancelledError);
    const second = expect(mlc.reload(["one", "two"])).rejects.toBeInstanceOf(CancelledError);
    await mlc.reload("two");
    await Promise.all([first, second]);
    expect(mlc.getLoadedModelIds()).toEqual(["two"]);
    expect(opened.filter(({ unloads }) => unloads === 0).map(({ url }) => url)).toEqual(["https://a.example/two/"]);
  });

  it("after an unload that stopped one is not undone by it", async () => {
    const mlc = new MLCEngine({ appConfig: APP });
    const first = mlc.reload("one");
    const unloaded = mlc.unload();
    await mlc.reload("two");
    await Promise.all([first, unloaded]);
    expect(mlc.getLoadedModelIds()).toEqual(["two"]);
    expect(textOf(await mlc.chatCompletion(request))).not.toBe("");
  });

  it("tells its progress to the callback of the moment, and writes nothing into the app's object", async () => {
    const reports: InitProgressReport[] = [];
    const config: MLCEngineConfig = Object.freeze({ appConfig: APP, initProgressCallback: () => reports.push() });
    const mlc = new MLCEngine(config);
    const callback = (report: InitProgressReport): void => void reports.push(report);
    mlc.setInitProgressCallback(callback);
    expect(mlc.getInitProgressCallback()).toBe(callback);
    await mlc.reload("one");
    expect(reports.at(-1)).toMatchObject({ progress: 1, text: "Finish loading on WebGPU - fake" });
  });

  it("whose callback throws frees the model", async () => {
    const mlc = new MLCEngine({
      appConfig: APP,
      initProgressCallback: () => {
        throw new Error("the app's");
      },
    });
    await expect(mlc.reload("one")).rejects.toThrow("the app's");
    expect([mlc.getLoadedModelIds(), opened[0]!.unloads]).toEqual([[], 1]);
  });
});

describe("what an app configures", () => {
  it("is the context's length, by chatOpts before its own option, and that before the record", async () => {
    const list = [{ model: "./x", model_id: "x", model_lib: "", overrides: { context_window_size: 512 } }];
    const mlc = new MLCEngine({
      appConfig: { model_list: list },
      baseUrl: "https://a.example/models",
      contextLength: 9,
    });
    await mlc.reload("x");
    await mlc.reload("x", { context_window_size: 256 });
    await mlc.reload("https://b.example/y");
    await new MLCEngine({ appConfig: { model_list: list }, baseUrl: "https://a.example/models" }).reload("x");
    expect(opened.map(({ options }) => options.contextLength)).toEqual([9, 256, 9, 512]);
    expect(opened[0]!.url).toBe("https://a.example/models/x");
  });

  it("is where the bundles are, once for all lists, as it was when the engine was made", async () => {
    const { prebuiltAppConfig } = webllm;
    const record = prebuiltAppConfig.model_list.find(({ model_id: id }) => id === "phi-2-q4f16_1-MLC")!;
    prebuiltAppConfig.baseUrl = "https://c.example/all";
    const engines = [new MLCEngine(), new MLCEngine({ appConfig: { model_list: [{ ...record }] } })];
    delete prebuiltAppConfig.baseUrl;
    for (const mlc of engines) await mlc.reload("phi-2-q4f16_1-MLC");
    expect(opened.map(({ url }) => url)).toEqual(Array(2).fill("https://c.example/all/phi-2-q4f16_1"));
    const lib = new URL(record.model_lib); // apps take it apart
    expect(lib.pathname.split("/").at(-2)).toBe("base");
  });

  it("is the bundle's window where its own is larger, which is said", async () => {
    const load = vi.mocked(Engine.load);
    load.mockImplementationOnce(async () => {
      throw new InvalidRequestError("contextLength", "is more than the model's 32.");
    });
    const mlc = new MLCEngine({ appConfig: APP });
    await mlc.reload("one", { context_window_size: 9999 });
    expect(load.mock.calls.map(([, options]) => options?.contextLength)).toEqual([9999, undefined]);
    expect(warnings).toEqual([expect.stringContaining("context_window_size 9999")]);
  });

  it("is warned of once where it has no effect, unless the log is more quiet", async () => {
    const chatOpts = { sliding_window_size: 128, conv_template: {}, attention_sink_size: -1, other: 1 } as object;
    const appConfig = { ...APP, cacheBackend: "opfs" as const };
    const mlc = new MLCEngine({ appConfig, unknown: 1 } as MLCEngineConfig);
    await mlc.reload("one", chatOpts);
    await mlc.reload("one", chatOpts);
    const fields = ["unknown", "cacheBackend", "sliding_window_size", "conv_template", "other"];
    expect(warnings.map((text) => /^mlcweb: (\w+) has no effect/.exec(text)?.[1])).toEqual(fields);
    warnings = [];
    await new MLCEngine({ appConfig, logLevel: "ERROR" }).reload("one", chatOpts);
    expect(warnings).toEqual([]);
  });

  it("is how much is logged", async () => {
    const mlc = new MLCEngine({ appConfig: APP, logLevel: "DEBUG" });
    await mlc.reload("one");
    mlc.setLogLevel("WARN");
    await mlc.reload("one");
    expect(opened.map(({ options }) => options.debug)).toEqual([3, 0]);
    expect(() => mlc.setLogLevel("LOUD" as never)).toThrow(/^logLevel/);
  });

  it("may be another list later", async () => {
    const mlc = new MLCEngine();
    mlc.setAppConfig(APP);
    await mlc.reload("two");
    expect(opened[0]!.url).toBe("https://a.example/two/");
    expect(() => mlc.setAppConfig({} as never)).toThrow(/^appConfig\.model_list/);
  });
});

describe("messages that a template refuses", () => {
  /** As Gemma's: no system, and roles in turn. */
  const render = vi.fn((turns: readonly { role: string; content: string }[]) => {
    turns.forEach(({ role }, i) => {
      if (role !== (i % 2 ? "assistant" : "user"))
        throw new InvalidRequestError("messages", "the template refuses them");
    });
    return turns.map(({ role, content }) => `${role}:${content}`).join("|");
  });
  const seen = async (turns: object[]): Promise<unknown> => {
    make = () => open(undefined, { template: { render } });
    const mlc = await load();
    await mlc.chatCompletion({ ...request, messages: turns as never });
    return render.mock.results.at(-1)?.value;
  };

  it("are joined, and what the system says goes into the user's turn", async () => {
    const [system, user, assistant] = ["system", "user", "assistant"].map((role) => ({ role, content: role[0] }));
    expect(await seen([user!, user!])).toBe("user:u\n\nu");
    expect(await seen([system!, user!, assistant!, user!])).toBe("user:s\n\nu|assistant:a|user:u");
    expect(await seen([user!, assistant!, system!])).toBe("user:u|assistant:a|user:s");
    const parts = { role: "user", content: [{ type: "text", text: "p" }] };
    expect(await seen([system!, parts])).toBe("user:s\n\np");
  });

  it("and that nothing mends are refused with the first reason", async () => {
    await expect(seen([{ role: "assistant", content: "a" }])).rejects.toThrow("messages: the template refuses them");
    await expect(seen([])).rejects.toThrow("must be a list that is not empty");
  });
});
