import { describe, expect, it } from "vitest";
import { Timing } from "../src/chat/answer.js";
import { type Backend, ChatCompletions, Completions, type ParsedRequest, Queue } from "../src/chat/index.js";
import type { ChatTurn, RenderOptions } from "../src/text/template.js";
import { FREE } from "./fake_model.js";

/** A backend that answers nothing, and what it was asked. */
function fake(chatStops: string[] = []): {
  backend: Backend;
  asked: { chats: [readonly ChatTurn[], RenderOptions][]; requests: ParsedRequest[] };
} {
  const asked = { chats: [] as [readonly ChatTurn[], RenderOptions][], requests: [] as ParsedRequest[] };
  const backend: Backend = {
    name: "fake",
    queue: new Queue(),
    vocabSize: 16,
    contextLength: 8,
    chatStops,
    constrain: async () => () => FREE,
    async *generate(_turn, _prompt, request) {
      asked.requests.push(request);
      yield* [];
      return { reason: "stop", timing: new Timing() };
    },
    answers: undefined,
    templateHasTools: true,
    renderChat: (messages, options) => {
      asked.chats.push([messages, options]);
      return "";
    },
    encodeRendered: () => [1],
    specialsIn: () => new Map(),
    token: String,
    encode: () => [1],
  };
  return { backend, asked };
}

describe("completions", () => {
  const tools = [{ type: "function" as const, function: { name: "now" } }];
  it("give tools and variables to the template", async () => {
    const { backend, asked } = fake();
    await new ChatCompletions(() => backend).create({
      messages: [{ role: "user", content: "hi" }],
      tools,
      extra_body: { enable_thinking: false },
    });
    expect(asked.chats).toEqual([
      [[{ role: "user", content: "hi" }], { tools, variables: { enable_thinking: false } }],
    ]);
  });
  it("tell a request's prompt, and answer nothing", async () => {
    const { backend, asked } = fake();
    backend.renderChat = (turns, { tools: given }) => `${turns[0]?.content} ${given?.length}`;
    const completions = new ChatCompletions(() => backend);
    const request = { messages: [{ role: "user" as const, content: "hi" }], tools };
    expect(await completions.prompt(request)).toEqual({ text: "hi 1", tokens: [1] });
    await expect(completions.prompt({ ...request, top_p: 2 })).rejects.toMatchObject({ param: "top_p" });
    expect(asked.requests).toEqual([]);
  });
  it("stop a chat at the model's stop strings too, a completion at the request's alone", async () => {
    const { backend, asked } = fake(["\nUser:"]);
    await new ChatCompletions(() => backend).create({ messages: [{ role: "user", content: "hi" }], stop: "x" });
    await new Completions(() => backend).create({ prompt: "hi", stop: "x" });
    expect(asked.requests.map(({ stop, continues }) => ({ stop, continues }))).toEqual([
      { stop: ["x", "\nUser:"], continues: false },
      { stop: ["x"], continues: true },
    ]);
  });
});
