// Tests the other APIs (OpenAI's client, the AI SDK, the Prompt API) on an engine that runs in a worker.
import { generateText, stepCountIs, streamText, tool } from "ai";
import OpenAI, { APIUserAbortError, BadRequestError } from "openai";
import { afterEach, describe, expect, expectTypeOf, it, vi } from "vitest";
import { z } from "zod";
import { createMlcweb, mlcweb } from "../src/ai_sdk/index.js";
import type { CountingSource } from "../src/chat/source.js";
import { Engine } from "../src/engine/index.js";
import { createFetch } from "../src/openai/index.js";
import { createLanguageModel } from "../src/prompt_api/index.js";
import { WorkerEngine } from "../src/worker/client.js";
import { EngineHost } from "../src/worker/engine_methods.js";
import { listen, serve } from "../src/worker/index.js";
import { open } from "./fake_engine.js";
import { type Reply, sourceOf } from "./fake_source.js";
import { pause } from "./worker_pair.js";

globalThis.AI_SDK_LOG_WARNINGS = false;
afterEach(() => {
  vi.restoreAllMocks();
});

/** An engine in a worker, of which the page has a port. */
async function across(engine: Engine): Promise<WorkerEngine> {
  vi.spyOn(Engine, "load").mockResolvedValue(engine);
  const host = new EngineHost({});
  const { port1, port2 } = new MessageChannel();
  listen(host.options.service, (wire) => serve(wire, host.methods, host.options), port2);
  return WorkerEngine.load(port1, "https://x.test/m/");
}
/** The same with answers that the test writes. */
async function replying(...replies: Reply[]) {
  const made = sourceOf(replies);
  const engine = { ...made.source, unload: async () => {} } as unknown as Engine;
  return { ...made, engine: await across(engine) };
}
const clientOf = (engine: WorkerEngine): OpenAI =>
  new OpenAI({
    baseURL: "http://page/v1",
    apiKey: "none",
    dangerouslyAllowBrowser: true,
    maxRetries: 0,
    fetch: createFetch(engine),
  });
const messages = [{ role: "user" as const, content: "hello" }];
const asked = { model: "fake", messages };
const call = { calls: [{ id: "abcdefghi", name: "weather", arguments: '{"city": "Vienna"}' }] };

it("is what the doors ask for", () => {
  expectTypeOf<WorkerEngine>().toExtend<CountingSource>();
});

describe("OpenAI's client", () => {
  it("has the words of the engine, whole and as a stream, and its models", async () => {
    const { engine } = open();
    const ai = clientOf(await across(engine));
    const request = { ...asked, temperature: 0, max_tokens: 5 };
    const whole = await ai.chat.completions.create(request);
    const own = await engine.chat.completions.create({ ...request, stream: false });
    expect(whole.choices[0]!.message.content).toBe(own.choices[0]!.message.content);
    let text = "";
    const options = { stream_options: { include_usage: true } };
    for await (const chunk of await ai.chat.completions.create({ ...request, ...options, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? "";
      if (chunk.usage) expect(chunk.usage.completion_tokens).toBe(5);
    }
    expect(text).toBe(own.choices[0]!.message.content);
    expect((await ai.completions.create({ model: "fake", prompt: "x", max_tokens: 2 })).choices[0]!.text).not.toBe("");
    expect((await ai.models.list()).data.map(({ id }) => id)).toEqual(["fake"]);
  });

  it("gets the worker's errors in OpenAI's shape", async () => {
    const engine = await across(open().engine);
    const ai = clientOf(engine);
    const wrong = await ai.chat.completions.create({ ...asked, temperature: 9 }).catch((error) => error);
    expect(wrong).toBeInstanceOf(BadRequestError);
    expect(wrong).toMatchObject({ status: 400, param: "temperature" });
    await engine.unload();
    await expect(ai.chat.completions.create(asked)).rejects.toMatchObject({ status: 503, code: "unloaded" });
  });

  it("ends the worker's answer when it is aborted", async () => {
    const { engine, state } = await replying({ endless: true });
    const ai = clientOf(engine);
    const stream = await ai.chat.completions.create({ ...asked, stream: true });
    let count = 0;
    for await (const _ of stream) if (++count === 3) stream.controller.abort();
    await vi.waitFor(() => expect(state.generating).toBe(0));
    const stop = new AbortController();
    const whole = ai.chat.completions.create(asked, { signal: stop.signal }).catch((error) => error);
    await vi.waitFor(() => expect(state.generating).toBe(1));
    stop.abort();
    expect(await whole).toBeInstanceOf(APIUserAbortError);
    await vi.waitFor(() => expect(state.generating).toBe(0));
    expect(state.ended.length).toBe(2);
  });
});

describe("the AI SDK", () => {
  it("generates and streams text", async () => {
    const { engine } = open();
    const model = mlcweb(await across(engine));
    const settings = { model, prompt: "hello", temperature: 0, maxOutputTokens: 5 };
    const own = await engine.chat.completions.create({ messages, temperature: 0, max_tokens: 5, stream: false });
    const result = await generateText(settings);
    expect(result.text).toBe(own.choices[0]!.message.content);
    expect(result.usage).toMatchObject({ inputTokens: 3, outputTokens: 5 });
    expect(await streamText(settings).text).toBe(result.text);
    expect(model.modelId).toBe("fake");
  });

  it("calls tools on the page", async () => {
    const { engine, asked: heard } = await replying(call, { text: ["It rains."] });
    const execute = vi.fn(async ({ city }: { city: string }) => ({ city, sky: "rain" }));
    const weather = tool({ description: "d", inputSchema: z.object({ city: z.string() }), execute });
    const model = createMlcweb({ small: engine }).languageModel("small");
    const result = await generateText({ model, tools: { weather }, prompt: "Vienna?", stopWhen: stepCountIs(3) });
    expect(result.text).toBe("It rains.");
    expect(execute.mock.calls[0]![0]).toEqual({ city: "Vienna" });
    expect(heard.at(-1)!.messages.at(-1)).toMatchObject({ role: "tool", content: '{"city":"Vienna","sky":"rain"}' });
  });

  it("ends the worker's answer when it is aborted", async () => {
    const { engine, state } = await replying({ endless: true });
    const stop = new AbortController();
    const result = streamText({ model: mlcweb(engine), prompt: "x", abortSignal: stop.signal });
    let count = 0;
    for await (const part of result.fullStream) if (part.type === "text-delta" && ++count === 3) stop.abort();
    await vi.waitFor(() => expect(state.generating).toBe(0));
    const again = new AbortController();
    const whole = generateText({ model: mlcweb(engine), prompt: "x", abortSignal: again.signal, maxRetries: 0 });
    const refused = expect(whole).rejects.toMatchObject({ name: "AbortError" });
    await vi.waitFor(() => expect(state.generating).toBe(1));
    again.abort();
    await refused;
    await vi.waitFor(() => expect(state.generating).toBe(0));
  });
});

describe("the Prompt API", () => {
  it("prompts, streams and stops", async () => {
    const { engine, state } = await replying({ text: ["a ", "b"] }, { text: ["c"] }, { endless: true });
    const session = await createLanguageModel({ bundle: engine }).create({ temperature: 0, topK: 1 });
    expect(await session.prompt("hi")).toBe("a b");
    const pieces: string[] = [];
    const reader = session.promptStreaming("more").getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) pieces.push(next.value);
    expect(pieces.join("")).toBe("c");
    const stop = new AbortController();
    const refused = expect(session.prompt("on", { signal: stop.signal })).rejects.toMatchObject({ name: "AbortError" });
    await vi.waitFor(() => expect(state.generating).toBe(1));
    stop.abort();
    await refused;
    await vi.waitFor(() => expect(state.generating).toBe(0));
    session.destroy();
    await pause();
    expect(engine.info.name).toBe("fake"); // the page's engine stays
  });
});
