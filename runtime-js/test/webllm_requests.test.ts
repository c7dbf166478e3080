// Tests which requests WebLLM's engine answers and which it refuses, by WebLLM's names; over engines without a GPU.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChatCompletion, ChatCompletionChunk, Completion } from "../src/chat/index.js";
import { InvalidRequestError } from "../src/errors.js";
import { Engine } from "../src/index.js";
import * as webllm from "../src/webllm/index.js";
import { CreateMLCEngine, type MLCEngine, ModelType } from "../src/webllm/index.js";
import { refusal } from "../src/webllm/names.js";
import { open, PROMPT } from "./fake_engine.js";

const APP = {
  model_list: ["one", "two"].map((id) => ({ model: `https://a.example/${id}/`, model_id: id, model_lib: "" })),
};
const user = { role: "user" as const, content: "x" };
const assistant = { role: "assistant" as const, content: "y" };
const system = { role: "system" as const, content: "z" };
const messages = [user];
const request = { messages, temperature: 0, max_tokens: 3 };
type Opened = ReturnType<typeof open>;
let opened: Opened[] = [];

beforeEach(() => {
  opened = [];
  vi.spyOn(Engine, "load").mockImplementation(async () => {
    const one = open();
    opened.push(one);
    return one.engine;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});
const load = (ids: string | string[] = "one", chatOpts?: webllm.ChatOptions): Promise<MLCEngine> =>
  CreateMLCEngine(ids, { appConfig: APP }, chatOpts);
const textOf = (answer: unknown): string => (answer as ChatCompletion).choices[0]!.message.content!;
async function all<T>(chunks: unknown): Promise<T[]> {
  const list: T[] = [];
  for await (const chunk of chunks as AsyncIterable<T>) list.push(chunk);
  return list;
}

/** What is wrong with a request, by its field and by WebLLM's name for that. */
const SAMPLING: readonly [string, string, object][] = [
  ["stream_options", "InvalidStreamOptionsError", { stream_options: { include_usage: true } }],
  ["stream_options", "InvalidStreamOptionsError", { stream_options: { include_usage: true }, stream: false }],
  ["seed", "SeedTypeError", { seed: 42.2 }],
  ["max_tokens", "MinValueError", { max_tokens: 0 }],
  ["max_tokens", "MinValueError", { max_tokens: -1 }],
  ["max_tokens", "MinValueError", { max_tokens: Number.NaN }],
  ["repetition_penalty", "MinValueError", { repetition_penalty: Number.NaN }],
  ["frequency_penalty", "RangeError", { frequency_penalty: Number.NaN }],
  ["frequency_penalty", "RangeError", { frequency_penalty: -2.5 }],
  ["presence_penalty", "RangeError", { presence_penalty: Number.NaN }],
  ["top_p", "RangeError", { top_p: Number.NaN }],
  ["top_p", "RangeError", { top_p: 1.5 }],
  ["temperature", "NonNegativeError", { temperature: Number.NaN }],
  ["temperature", "NonNegativeError", { temperature: -1 }],
  ["temperature", "RangeError", { temperature: 2.5 }],
  ["logit_bias", "RangeError", { logit_bias: { 5: 155 } }],
  ["logit_bias", "RangeError", { logit_bias: { 5: Number.NaN } }],
  ["logit_bias", "InvalidNumberStringError", { logit_bias: { five: 50 } }],
  ["top_logprobs", "DependencyError", { top_logprobs: 3 }],
  ["top_logprobs", "DependencyError", { top_logprobs: 3, logprobs: false }],
  ["top_logprobs", "RangeError", { top_logprobs: 21, logprobs: true }],
  ["top_logprobs", "RangeError", { top_logprobs: Number.NaN, logprobs: true }],
];
const image = { type: "image_url", image_url: { url: "https://a.example/x.jpg" } };
const audio = { type: "input_audio", input_audio: { format: "wav", data: "" } };
const CHAT: readonly [string, string, object][] = [
  ["response_format.schema", "InvalidResponseFormatError", { response_format: { schema: "{}" } }],
  ["response_format.grammar", "InvalidResponseFormatGrammarError", { response_format: { grammar: "root ::= x" } }],
  ["response_format.grammar", "InvalidResponseFormatGrammarError", { response_format: { type: "grammar" } }],
  [
    "response_format.structural_tag",
    "InvalidResponseFormatStructuralTagError",
    { response_format: { structural_tag: {} } },
  ],
  ["response_format.schema", "GrammarMatcherInitError", { response_format: { type: "json_object", schema: "{" } }],
  [
    "messages[0].content[1]",
    "UserMessageContentErrorForNonVLM",
    { messages: [{ role: "user", content: [{ type: "text", text: "x" }, image] }] },
  ],
  ["messages[0].content[0]", "UserMessageContentErrorForNonVLM", { messages: [{ role: "user", content: [audio] }] }],
  ["messages[0].role", "UnsupportedRoleError", { messages: [{ role: "nobody", content: "x" }] }],
];

describe("what WebLLM refuses and this engine too", () => {
  it.each([...SAMPLING, ...CHAT])("is refused by its field and name in a chat: %s, %s", async (param, name, wrong) => {
    const mlc = await load();
    const refused = { name, param, code: "invalid-request" };
    const asked = { ...request, ...wrong } as webllm.ChatCompletionRequestBase;
    const error = await mlc.chatCompletion(asked).catch((caught) => caught);
    expect(error).toBeInstanceOf(InvalidRequestError);
    expect(error).toMatchObject(refused);
    const check = () => webllm.postInitAndCheckFieldsChatCompletion(asked as never, "one", ModelType.LLM);
    expect(check).toThrow(expect.objectContaining(refused));
    expect(textOf(await mlc.chatCompletion(request))).not.toBe("");
  });

  it.each([
    ...SAMPLING,
    ["suffix", "UnsupportedFieldsError", { suffix: "x" }],
    ["best_of", "UnsupportedFieldsError", { best_of: 3 }],
    ["extra_body.resumable", "UnsupportedFieldsError", { extra_body: { resumable: { enabled: true } } }],
  ] as const)("is refused by its field and name in a completion: %s, %s", async (param, name, wrong) => {
    const mlc = await load();
    const asked = { prompt: "x", ...(wrong as object) };
    await expect(mlc.completion(asked)).rejects.toMatchObject({ name, param });
    const check = () => webllm.postInitAndCheckFieldsCompletion(asked, "one");
    expect(check).toThrow(expect.objectContaining({ name, param }));
  });

  it("is refused where a model's default is no number", async () => {
    const mlc = await load("one", { top_p: Number.NaN });
    await expect(mlc.chatCompletion(request)).rejects.toMatchObject({ name: "RangeError", param: "top_p" });
  });

  it("is a form that no grammar can be made of", () => {
    const named = (param: string, response_format: object): string =>
      (refusal(new InvalidRequestError(param, "is wrong."), { response_format }) as Error).name;
    const grammar = { type: "grammar", grammar: "root ::= (" };
    expect(named("response_format.grammar", grammar)).toBe("GrammarMatcherInitError");
    const schema = { type: "json_object", schema: { properties: { a: 5 } } };
    expect(named("response_format.schema.properties.a", schema)).toBe("GrammarMatcherInitError");
    const tags = { type: "structural_tag", structural_tag: {} };
    expect(named("response_format.structural_tag.format", tags)).toBe("GrammarMatcherInitError");
    expect(named("response_format.type", { type: "poem" })).toBe("InvalidRequestError");
  });

  it("is embeddings, of a chat model", async () => {
    const mlc = await load();
    const refused = { name: "IncorrectPipelineLoadedError", code: "wrong-model" };
    await expect(mlc.embeddings.create({ input: "x" })).rejects.toMatchObject(refused);
  });
});

describe("what WebLLM answers", () => {
  it("is answered, with every field of its own check at the ends of its range", async () => {
    const mlc = await load();
    const fields = {
      n: 3,
      temperature: 1.5,
      max_tokens: 2,
      top_p: 1,
      frequency_penalty: -2,
      presence_penalty: 2,
      repetition_penalty: 0.01,
      seed: 42,
      logprobs: true,
      top_logprobs: 5,
      logit_bias: { 5: -100, 6: 100 },
    };
    const answer = (await mlc.chatCompletion({
      messages: [system, user, assistant, user],
      ...fields,
    })) as ChatCompletion;
    expect(answer.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(answer.usage).toMatchObject({ prompt_tokens: PROMPT.length, completion_tokens: 6 });
    const [first] = answer.choices[0]!.logprobs!.content!;
    expect(first!.top_logprobs.length).toBe(5);
    const bare = (await mlc.chatCompletion({ ...request, logprobs: true })) as ChatCompletion;
    expect(bare.choices[0]!.logprobs!.content!.map(({ top_logprobs: top }) => top)).toEqual([[], [], []]);
  });

  it("is answered with nothing in the place of what is null or not given", async () => {
    const mlc = await load("one", { top_p: 0.25 });
    const none = {
      top_p: null,
      logit_bias: null,
      seed: null,
      stop: null,
      tools: undefined,
      response_format: undefined,
    };
    await mlc.chatCompletion({ ...request, ...none } as never);
    expect(opened[0]!.model.lastSampling).toMatchObject({ topP: 0.25 });
  });

  it("is as long as there is room for, where max_tokens is Infinity", async () => {
    const mlc = await load();
    const [whole, free] = [Infinity, null].map((max_tokens) =>
      mlc.chatCompletion({ messages, temperature: 0, max_tokens }),
    );
    const { usage } = (await whole) as ChatCompletion;
    expect(usage.completion_tokens).toBeGreaterThan(3);
    expect(usage.completion_tokens).toBe(((await free) as ChatCompletion).usage.completion_tokens);
  });

  it("leaves the model's other penalty out, where it asks for one", async () => {
    const mlc = await load("one", { frequency_penalty: 2 });
    const observe = vi.spyOn(opened[0]!.engine.chat.completions, "observe");
    await mlc.chatCompletion({ ...request, presence_penalty: 1 });
    await mlc.chatCompletion(request);
    await mlc.chatCompletion({ ...request, frequency_penalty: 1 });
    const asked = observe.mock.calls.map(([body]) => [body.frequency_penalty, body.presence_penalty]);
    expect(asked).toEqual([
      [0, 1],
      [2, undefined],
      [1, 0],
    ]);
  });

  it("is a stream of words, then an end without words, then usage", async () => {
    const mlc = await load();
    const asked = { ...request, stream: true as const, stream_options: { include_usage: true } };
    const chunks = await all<ChatCompletionChunk>(await mlc.chatCompletion(asked));
    expect(chunks.at(0)!.choices[0]!.delta.content).not.toBe("");
    expect(chunks.at(-2)!.choices[0]!.finish_reason).toBe("length");
    expect(chunks.slice(0, -2).every(({ choices: [one] }) => one!.finish_reason === null)).toBe(true);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 3 } });
    const plain = await all<ChatCompletionChunk>(await mlc.chatCompletion({ ...request, stream: true }));
    expect(plain.every(({ usage, choices }) => usage == null && choices.length === 1)).toBe(true);
    const texts = await all<Completion>(await mlc.completion({ prompt: "p", max_tokens: 2, stream: true }));
    expect(texts.at(-1)!.choices[0]!.finish_reason).toBe("length");
    expect(new Set([...chunks, ...plain].map(({ object }) => object))).toEqual(new Set(["chat.completion.chunk"]));
    expect(texts[0]!.object).toBe("text_completion");
  });
});

describe("what WebLLM refuses and this engine answers", () => {
  const parts = [
    { type: "text" as const, text: "x" },
    { type: "text" as const, text: "y" },
  ];
  it.each([
    ["several choices in a stream", { n: 2, stream: true }],
    ["a system message that is not the first", { messages: [user, assistant, user, system] }],
    ["an assistant's message at the end", { messages: [user, assistant] }],
    ["several parts of text", { messages: [{ role: "user", content: parts }] }],
    ["top_logprobs above 5", { logprobs: true, top_logprobs: 6 }],
    ["the user's name", { user: "Bob" }],
  ])("is %s", async (_, more) => {
    const mlc = await load();
    const asked = { ...request, ...more } as never;
    webllm.postInitAndCheckFieldsChatCompletion(asked, "one", ModelType.LLM);
    const answer = (await mlc.chatCompletion(asked)) as ChatCompletion | AsyncIterable<ChatCompletionChunk>;
    if (Symbol.asyncIterator in answer) expect((await all(answer)).length).toBeGreaterThan(0);
    else expect(answer.usage.completion_tokens).toBe(3);
  });
});
