// Requests with tools and of models that reason, over a model without a GPU whose answers are written down.
import { describe, expect, it } from "vitest";
import { generateAnswer } from "../src/chat/answer.js";
import {
  type Backend,
  type ChatCompletion,
  type ChatCompletionChunk,
  ChatCompletions,
  type ChatRequest,
  Queue,
} from "../src/chat/index.js";
import type { AnswerRules } from "../src/chat/response_format.js";
import type { AnswerSyntax } from "../src/contract/index.js";
import { CachedTokens } from "../src/decode/index.js";
import { InvalidRequestError } from "../src/errors.js";
import type { ChatTurn, RenderOptions } from "../src/text/template.js";
import { argmax, END, FakeModel, FREE } from "./fake_model.js";
import { SYNTAXES } from "./tool_syntaxes.js";

const { hermes, pythonic } = SYNTAXES;
const PROMPT = [97, 98];
const THINK = { begin: "<think>", end: "</think>" };
const ENDING = "\n</think>\n\n";

/** Chats with a model that answers with `pieces`, a token each, and what it was asked. */
function scripted(pieces: readonly string[], answers?: AnswerSyntax, prompt = "", render?: Backend["renderChat"]) {
  const words = [...new Set([...pieces, ENDING])];
  const ending = words.indexOf(ENDING);
  const model = new FakeModel((history) => {
    const said = history.slice(PROMPT.length);
    const cut = said.indexOf(ending);
    // After what ends its reasoning it goes on with what it would have said then.
    const at = cut < 0 ? said.length : pieces.findIndex((piece) => piece.includes("</think>")) + said.length - cut;
    return pieces[at] === undefined ? END : words.indexOf(pieces[at]);
  });
  model.contextLength = model.kvTokens = 400;
  const asked: { messages: readonly ChatTurn[]; options: RenderOptions }[] = [];
  const held: AnswerRules[] = [];
  const kv = new CachedTokens();
  const codec = {
    decode: (tokens: readonly number[]) => tokens.map((token) => words[token] ?? "").join(""),
    token: (id: number) => words[id] ?? "",
  };
  const backend: Backend = {
    name: "scripted",
    queue: new Queue(),
    vocabSize: 100,
    contextLength: 400,
    chatStops: [],
    answers,
    templateHasTools: true,
    renderChat: (messages, options) => {
      asked.push({ messages, options });
      return render?.(messages, options) ?? prompt;
    },
    encodeRendered: () => PROMPT,
    specialsIn: () => new Map(),
    token: codec.token,
    encode: (text) => [words.indexOf(text)],
    constrain: async (rules) => {
      held.push(rules);
      return () => FREE;
    },
    generate: (turn, tokens, request, index) =>
      generateAnswer(
        { model, kv, host: argmax, codec, stopTokens: new Set([END]), depth: 4, interrupted: () => turn.interrupted },
        tokens,
        request,
        index,
      ),
  };
  const chat = new ChatCompletions(() => backend);
  return { chat, asked, held, model };
}

const messages = [{ role: "user" as const, content: "Weather?" }];
const tools = [
  { type: "function" as const, function: { name: "get_weather", parameters: { type: "object", properties: {} } } },
  { type: "function" as const, function: { name: "now" } },
];
const CALLS = [
  ...["Let ", "me ", "see.", "\n\n", "<tool_call>", '\n{"na', 'me": "get_weather", "argu', 'ments": {"ci', 'ty": "Wi'],
  ...['en"}', "}\n</tool_", "call>", "\n", "<tool_call>", '{"name": "now", "arguments": {}}', "</tool_call>"],
];
const ask = (
  pieces: readonly string[],
  more: Partial<ChatRequest> = {},
  answers: AnswerSyntax = { tool_calls: hermes },
) =>
  scripted(pieces, answers).chat.create({ messages, tools, temperature: 0, ...more } as ChatRequest & {
    stream: false;
  });
const first = (answer: ChatCompletion) => answer.choices[0]!;

async function chunksOf(stream: Promise<unknown>): Promise<ChatCompletionChunk[]> {
  const chunks: ChatCompletionChunk[] = [];
  for await (const chunk of (await stream) as AsyncIterable<ChatCompletionChunk>) chunks.push(chunk);
  return chunks;
}

describe("an answer with calls", () => {
  const id = expect.stringMatching(/^[A-Za-z0-9]{9}$/) as string;
  const made = [
    { id, type: "function", function: { name: "get_weather", arguments: '{"city": "Wien"}' } },
    { id, type: "function", function: { name: "now", arguments: "{}" } },
  ];
  it("has them in its message", async () => {
    const { message, finish_reason } = first(await ask(CALLS));
    expect(message).toEqual({ role: "assistant", content: "Let me see.", tool_calls: made });
    expect(finish_reason).toBe("tool_calls");
  });
  it("has no content where there are no words", async () => {
    const { message } = first(await ask(CALLS.slice(4)));
    expect(message).toEqual({ role: "assistant", content: null, tool_calls: made });
  });
  it("streams them as deltas", async () => {
    const chunks = await chunksOf(ask(CALLS, { stream: true } as never));
    const deltas = chunks.map((chunk) => chunk.choices[0]!.delta);
    expect(deltas[0]).toEqual({ role: "assistant", content: "Let" });
    expect(deltas.map((delta) => delta.content ?? "").join("")).toBe("Let me see.");
    const calls = deltas.flatMap((delta) => delta.tool_calls ?? []);
    expect(calls.slice(0, 3)).toEqual([
      { index: 0, id, type: "function", function: { name: "get_weather", arguments: '{"ci' } },
      { index: 0, function: { arguments: 'ty": "Wi' } },
      { index: 0, function: { arguments: 'en"}' } },
    ]);
    expect(calls.slice(3)).toEqual([{ index: 1, id, type: "function", function: { name: "now", arguments: "{}" } }]);
    expect(chunks.at(-1)!.choices[0]).toMatchObject({ delta: {}, finish_reason: "tool_calls" });
  });
  it("is cut by max_tokens, and says so", async () => {
    const { message, finish_reason } = first(await ask(CALLS, { max_tokens: 9 }));
    expect(message.tool_calls).toEqual([
      { id, type: "function", function: { name: "get_weather", arguments: '{"city": "Wi' } },
    ]);
    expect(finish_reason).toBe("length");
  });
  it("keeps what is cut before it is a call", async () => {
    const { message, finish_reason } = first(await ask(CALLS, { max_tokens: 6 }));
    expect(message).toEqual({ role: "assistant", content: 'Let me see.\n\n<tool_call>\n{"na' });
    expect(finish_reason).toBe("length");
  });
  it("keeps calls of choices apart", async () => {
    const answer = await ask(CALLS, { n: 2 });
    const ids = answer.choices.flatMap(({ message }) => message.tool_calls!.map((call) => call.id));
    expect(answer.choices.map(({ message }) => message.tool_calls)).toEqual([made, made]);
    expect(new Set(ids).size).toBe(4);
  });
  it("ends after the first where several are not wanted", async () => {
    const answer = await ask(CALLS, { parallel_tool_calls: false });
    expect(first(answer)).toMatchObject({ message: { tool_calls: [made[0]] }, finish_reason: "tool_calls" });
    expect(answer.usage.completion_tokens).toBe(12);
  });
  it("is words where no tool may be called", async () => {
    const { message, finish_reason } = first(await ask(CALLS, { tool_choice: "none" }));
    expect([message, finish_reason]).toEqual([{ role: "assistant", content: CALLS.join("") }, "stop"]);
  });
  it("stops at stop strings, whatever it is about to say", async () => {
    const { message, finish_reason } = first(await ask(CALLS, { stop: '"Wi' }));
    expect(message.tool_calls).toMatchObject([{ function: { name: "get_weather", arguments: '{"city": ' } }]);
    expect(finish_reason).toBe("tool_calls");
    expect(first(await ask(CALLS, { stop: "\n\n" }))).toMatchObject({
      message: { content: "Let me see." },
      finish_reason: "stop",
    });
  });
  it("has log-probabilities of every token", async () => {
    const { logprobs } = first(await ask(CALLS, { logprobs: true }));
    expect(logprobs!.content.map(({ token }) => token)).toEqual(CALLS);
  });
  it("is read in Hermes' syntax where a bundle does not say", async () => {
    const { chat, asked } = scripted(CALLS);
    const answer = await chat.create({ messages, tools, temperature: 0, stream: false });
    expect(first(answer).message.tool_calls).toEqual(made);
    expect(asked[0]!.options.tools).toEqual(tools);
  });
  it("is words where a bundle says that nobody knows", async () => {
    expect(first(await ask(CALLS, {}, {})).message).toEqual({ role: "assistant", content: CALLS.join("") });
  });
});

describe("a request with tools", () => {
  const refused = async (more: object, answers?: AnswerSyntax): Promise<string | undefined> =>
    ask(["a"], more, answers).then(
      () => "accepted",
      (error: unknown) => (error instanceof InvalidRequestError ? error.param : String(error)),
    );
  it("is refused by name where nothing enforces it", async () => {
    const strict = [tools[0], { type: "function", function: { name: "now", strict: true } }];
    expect(await refused({ tools: strict }, { tool_calls: pythonic })).toBe("tools[1].function.strict");
    expect(await refused({ tools: strict, tool_choice: "none" }, { tool_calls: pythonic })).toBe("accepted");
    expect(await refused({ thinking_budget: 5 })).toBe("thinking_budget");
  });
  it("is held to what it asks for, and to a format beside it", async () => {
    const { chat, held } = scripted(["a"], { tool_calls: hermes, reasoning: { begin: "<think>", end: "</think>" } });
    const reasoning = { begin: "<think>", end: "</think>", opened: false };
    const calls = { kind: "tags", field: "tools" };
    await chat.create({ messages, tools });
    await chat.create({ messages, tools, tool_choice: "required" });
    await chat.create({ messages, tools, response_format: { type: "json_object" } });
    await chat.create({ messages, tools, tool_choice: "none", response_format: { type: "json_object" } });
    await chat.create({ messages, tools, tool_choice: "none" });
    const json = { kind: "schema", schema: { type: "object" }, field: "response_format.schema" };
    expect(held).toMatchObject([
      { formats: [calls], reasoning, asked: false },
      { formats: [calls], reasoning, asked: true },
      { formats: [json, calls], reasoning, asked: true },
      { formats: [json], reasoning, asked: true },
    ]);
  });
  it("gives the template tools without what is the engine's", async () => {
    const { chat, asked } = scripted(["a"], { tool_calls: hermes });
    const [tool] = tools;
    await chat.create({ messages, tools: [{ ...tool!, function: { ...tool!.function, strict: false } }] });
    expect(asked[0]!.options.tools).toEqual([tool]);
  });
  it("puts the engine's own words into the user's where the template has no place for a system message", async () => {
    const render = (turns: readonly ChatTurn[]): string => {
      if (turns[0]!.role === "system") throw new InvalidRequestError("messages", "no system here");
      return "";
    };
    const engine: AnswerSyntax = { tool_calls: { ...hermes, tools: "engine", turns: "engine" } };
    const { chat, asked } = scripted(["a"], engine, "", render);
    await chat.create({ messages, tools });
    expect(asked[1]!.messages).toHaveLength(1);
    expect(asked[1]!.messages[0]!.content).toMatch(/<tools>[\s\S]*get_weather[\s\S]*<tool_call>[\s\S]*\n\nWeather\?$/);
    expect(asked[1]!.options.tools).toBeUndefined();
    await expect(chat.create({ messages: [{ role: "system", content: "x" }, ...messages], tools })).rejects.toThrow(
      /no system here/,
    );
  });
});

describe("an answer with reasoning", () => {
  const THOUGHTS = ["<think>", "\n", "Hm", ", ", "so", ".", "\n", "</think>", "\n\n", "It ", "rains."];
  const answers = { reasoning: THINK };
  const think = (pieces: readonly string[], more: object = {}, prompt = "") =>
    scripted(pieces, answers, prompt).chat.create({ messages, temperature: 0, ...more } as ChatRequest & {
      stream: false;
    });
  it("comes apart, and is counted", async () => {
    const answer = await think(THOUGHTS);
    expect(first(answer)).toMatchObject({
      message: { role: "assistant", content: "It rains.", reasoning_content: "Hm, so." },
      finish_reason: "stop",
    });
    expect(answer.usage.completion_tokens_details).toEqual({ reasoning_tokens: 8 });
  });
  it("streams apart", async () => {
    const chunks = await chunksOf(think(THOUGHTS, { stream: true }));
    const deltas = chunks.map((chunk) => chunk.choices[0]!.delta);
    expect(deltas[0]).toEqual({ role: "assistant", reasoning_content: "Hm" });
    expect(deltas.map((delta) => delta.reasoning_content ?? "").join("")).toBe("Hm, so.");
    expect(deltas.map((delta) => delta.content ?? "").join("")).toBe("It rains.");
  });
  it("begins in the prompt where the template begins it", async () => {
    const { message } = first(await think(THOUGHTS.slice(2), {}, "<|assistant|><think>\n"));
    expect(message).toEqual({ role: "assistant", content: "It rains.", reasoning_content: "Hm, so." });
    expect(first(await think(["Hi"], {}, "<think>\n\n</think>\n\n")).message).toEqual({
      role: "assistant",
      content: "Hi",
    });
  });
  it("can be in the next turn's messages as it came", async () => {
    const { chat, asked } = scripted(THOUGHTS, { ...answers, tool_calls: hermes });
    for (const pieces of [THOUGHTS.slice(0, 4), CALLS.slice(4)]) {
      const { message } = first(
        await scripted(pieces, { ...answers, tool_calls: hermes }).chat.create({ messages, tools }),
      );
      const result = message.tool_calls?.map(({ id }) => ({ role: "tool" as const, tool_call_id: id, content: "1" }));
      await chat.create({ messages: [...messages, message, ...(result ?? [])], tools });
    }
    expect(asked.map((one) => one.messages.slice(1))).toMatchObject([
      [{ content: "", reasoning_content: "Hm," }],
      [
        { content: "", tool_calls: [{ function: { name: "get_weather", arguments: { city: "Wien" } } }, {}] },
        { role: "tool", content: "1" },
        { role: "tool", content: "1" },
      ],
    ]);
  });
  it("that does not end is all there is", async () => {
    expect(first(await think(THOUGHTS, { max_tokens: 4 }))).toMatchObject({
      message: { role: "assistant", content: null, reasoning_content: "Hm," },
      finish_reason: "length",
    });
  });
  it.each([
    [0, "<think>\n", [2], undefined],
    [2, "<think>\n", [2], "Hm,"],
    [3, "", [0], "Hm,"],
    [99, "", [0], "Hm, so."],
  ])("is ended after %i tokens", async (thinking_budget, prompt, [from], reasoning_content) => {
    const answer = await think(THOUGHTS.slice(from), { thinking_budget }, prompt);
    expect(first(answer)).toMatchObject({
      message: { content: "It rains.", ...(reasoning_content && { reasoning_content }) },
      finish_reason: "stop",
    });
    if (reasoning_content === undefined) expect(first(answer).message).not.toHaveProperty("reasoning_content");
  });
  it("that is ended takes no more tokens than there may be", async () => {
    const answer = await think(THOUGHTS, { thinking_budget: 2, max_tokens: 3 });
    expect([answer.usage.completion_tokens, first(answer).finish_reason]).toEqual([3, "length"]);
    expect(await think(THOUGHTS, { thinking_budget: 2, max_tokens: 4 }).then((a) => a.usage.completion_tokens)).toBe(4);
  });
});
