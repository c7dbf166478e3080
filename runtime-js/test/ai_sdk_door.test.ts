// Vercel's own AI SDK on an engine.
import {
  DirectChatTransport,
  embed,
  generateObject,
  generateText,
  Output,
  stepCountIs,
  streamObject,
  streamText,
  ToolLoopAgent,
  tool,
} from "ai";
import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { createMlcweb, mlcweb } from "../src/ai_sdk/index.js";
import { DeviceLostError, InvalidRequestError } from "../src/errors.js";
import { open } from "./fake_engine.js";
import { type Reply, sourceOf } from "./fake_source.js";

const modelOf = (...replies: Reply[]) => {
  const made = sourceOf(replies);
  return { model: mlcweb(made.source), ...made };
};
const weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => ({ city, sky: "rain" }),
});
const call = { calls: [{ id: "abcdefghi", name: "weather", arguments: '{"city": "Vienna"}' }] };

globalThis.AI_SDK_LOG_WARNINGS = false;

describe("the AI SDK", () => {
  it("generates text with a whole engine", async () => {
    const { engine } = open();
    const result = await generateText({ model: mlcweb(engine), prompt: "hello", temperature: 0, maxOutputTokens: 5 });
    const messages = [{ role: "user" as const, content: "hello" }];
    const own = await engine.chat.completions.create({ messages, temperature: 0, max_tokens: 5, stream: false });
    expect(result.text).toBe(own.choices[0]!.message.content);
    expect(result.finishReason).toBe("length");
    expect(result.usage).toMatchObject({ inputTokens: 3, outputTokens: 5, totalTokens: 8 });
    expect(result.response.modelId).toBe("fake");
    const streamed = streamText({ model: mlcweb(engine), prompt: "hello", temperature: 0, maxOutputTokens: 5 });
    expect(await streamed.text).toBe(result.text);
    expect(await streamed.usage).toMatchObject({ outputTokens: 5 });
  });

  it("passes settings on, and warns of those that have no meaning", async () => {
    const { model, asked } = modelOf({ text: ["yes"] });
    const result = await generateText({
      model,
      system: "Be brief.",
      prompt: "hello",
      topP: 0.5,
      topK: 4,
      presencePenalty: 0.1,
      frequencyPenalty: 0.2,
      stopSequences: ["x"],
      seed: 7,
      reasoning: "high",
      providerOptions: { mlcweb: { min_p: 0.25, thinking_budget: 9 } },
    });
    expect(asked[0]!.messages).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: "hello" },
    ]);
    expect(asked[0]!.request).toMatchObject({
      sampling: { topP: 0.5, topK: 4, seed: 7 },
      host: { minP: 0.25, presencePenalty: 0.1, frequencyPenalty: 0.2 },
      stop: ["x"],
      thinkingBudget: 9,
    });
    expect(result.warnings).toMatchObject([{ type: "unsupported", feature: "reasoning" }]);
    const unknown = generateText({ model, prompt: "x", providerOptions: { mlcweb: { min_q: 1 } } });
    await expect(unknown).rejects.toThrow(InvalidRequestError);
  });

  it("tells reasoning from words, whole and streamed", async () => {
    const { model } = modelOf({ reasoning: "hm", text: ["ye", "s"] });
    const whole = await generateText({ model, prompt: "hello" });
    expect([whole.reasoningText, whole.text]).toEqual(["hm", "yes"]);
    const parts = [];
    for await (const part of streamText({ model, prompt: "hello" }).fullStream) parts.push(part.type);
    expect(parts.filter((type) => /reasoning|text/.test(type))).toEqual([
      "reasoning-start",
      "reasoning-delta",
      "reasoning-end",
      "text-start",
      "text-delta",
      "text-delta",
      "text-end",
    ]);
  });

  it.each(["whole", "streamed"])("calls tools and goes on with their results, %s", async (kind) => {
    const { model, asked } = modelOf({ text: ["I look."], ...call }, { text: ["It rains."] });
    const options = { model, prompt: "hello", tools: { weather }, stopWhen: stepCountIs(3) };
    const result = kind === "whole" ? await generateText(options) : streamText(options);
    expect(await result.text).toBe("It rains.");
    expect((await result.steps)[0]!.toolCalls).toMatchObject([{ toolName: "weather", input: { city: "Vienna" } }]);
    expect((await result.steps)[0]!.finishReason).toBe("tool-calls");
    expect(asked[0]!.options.tools).toMatchObject([{ function: { name: "weather" } }]);
    expect(asked[1]!.messages.slice(1)).toMatchObject([
      {
        role: "assistant",
        content: "I look.",
        tool_calls: [{ id: "abcdefghi", function: { name: "weather", arguments: { city: "Vienna" } } }],
      },
      { role: "tool", tool_call_id: "abcdefghi", name: "weather", content: '{"city":"Vienna","sky":"rain"}' },
    ]);
  });

  it("makes objects of a schema", async () => {
    const { model, asked } = modelOf({ text: ['{"name": ', '"Ada"}'] });
    const schema = z.object({ name: z.string() });
    expect((await generateObject({ model, prompt: "x", schema })).object).toEqual({ name: "Ada" });
    const partial = [];
    for await (const object of streamObject({ model, prompt: "x", schema }).partialObjectStream) partial.push(object);
    expect(partial.at(-1)).toEqual({ name: "Ada" });
    const { output } = await generateText({ model, prompt: "x", output: Output.object({ schema }) });
    expect(output).toEqual({ name: "Ada" });
    await generateObject({ model, prompt: "x", output: "no-schema" });
    expect(asked.map(({ format }) => format)).toMatchObject([
      ...Array(3).fill({ kind: "schema", schema: { required: ["name"] } }),
      { kind: "schema", schema: { type: "object" } },
    ]);
  });

  it("serves a chat's agent without a server", async () => {
    const { model } = modelOf(call, { text: ["It ", "rains."] });
    const agent = new ToolLoopAgent({ model, tools: { weather } });
    const chunks = await new DirectChatTransport({ agent }).sendMessages({
      chatId: "a",
      messages: [{ id: "b", role: "user", parts: [{ type: "text", text: "weather?" }] }],
      trigger: "submit-message",
      messageId: undefined,
      abortSignal: undefined,
    });
    let text = "";
    for await (const chunk of chunks) if (chunk.type === "text-delta") text += chunk.delta;
    expect(text).toBe("It rains.");
  });

  it("stops by its signal", async () => {
    const { model, state } = modelOf({ endless: true });
    const stop = new AbortController();
    const whole = generateText({ model, prompt: "x", abortSignal: stop.signal, maxRetries: 0 });
    await vi.waitFor(() => expect(state.tokens).toBeGreaterThan(1));
    stop.abort();
    await expect(whole).rejects.toMatchObject({ name: "AbortError" });
    const again = new AbortController();
    const onAbort = vi.fn();
    const result = streamText({ model, prompt: "x", abortSignal: again.signal, onAbort });
    let count = 0;
    for await (const part of result.fullStream) if (part.type === "text-delta" && ++count === 3) again.abort();
    expect(onAbort).toHaveBeenCalledTimes(1);
    await vi.waitFor(() => expect(state.generating).toBe(0));
  });

  it("is told of an interruption, and of the GPU's loss", async () => {
    const { model, state, source } = modelOf({ endless: true });
    const whole = generateText({ model, prompt: "x" });
    await vi.waitFor(() => expect(state.tokens).toBeGreaterThan(1));
    source.interrupt();
    expect(await whole).toMatchObject({ rawFinishReason: "abort" });
    state.replies = [{ text: ["a"], error: new DeviceLostError("gone") }];
    await expect(generateText({ model, prompt: "x" })).rejects.toThrow(DeviceLostError);
    const errors: unknown[] = [];
    const onError = ({ error }: { error: unknown }): void => void errors.push(error);
    await streamText({ model, prompt: "x", onError }).consumeStream();
    expect(errors[0]).toBeInstanceOf(DeviceLostError);
  });

  it("refuses images, and models that are not there", async () => {
    const { model, source } = modelOf({ text: ["a"] });
    const image = { type: "file" as const, data: new Uint8Array([1]), mediaType: "image/png" };
    const prompt = [{ role: "user" as const, content: [image] }];
    await expect(generateText({ model, prompt })).rejects.toMatchObject({ name: "AI_UnsupportedFunctionalityError" });
    const provider = createMlcweb({ small: source });
    expect((await generateText({ model: provider.languageModel("small"), prompt: "x" })).text).toBe("a");
    expect(() => provider.languageModel("toString")).toThrow("There is no engine named toString: there is small.");
    const embedding = async (): Promise<unknown> => embed({ model: provider.embeddingModel("small"), value: "x" });
    await expect(embedding()).rejects.toMatchObject({ name: "AI_UnsupportedFunctionalityError" });
  });
});
