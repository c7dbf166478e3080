// OpenAI's own client on an engine in the page, through createFetch.
import OpenAI, {
  APIError,
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
} from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import type * as Chat from "openai/resources/chat/completions";
import type { Completion as OpenAIText } from "openai/resources/completions";
import { describe, expect, expectTypeOf, it, vi } from "vitest";
import { z } from "zod";
import type { ChatRequest } from "../src/chat/request.js";
import { ContextLengthError, DeviceLostError, UnloadedError } from "../src/errors.js";
import { createFetch, type FetchOptions, type Models } from "../src/openai/index.js";
import type { OpenAIChatChunk, OpenAIChatCompletion, OpenAICompletion } from "../src/openai/shapes.js";
import { open } from "./fake_engine.js";
import { type Reply, sourceOf } from "./fake_source.js";

const clientOf = (models: Models, options?: FetchOptions): OpenAI =>
  new OpenAI({
    baseURL: "http://page/v1",
    apiKey: "none",
    dangerouslyAllowBrowser: true,
    maxRetries: 0,
    fetch: createFetch(models, options),
  });
const client = (...replies: Reply[]): { ai: OpenAI } & ReturnType<typeof sourceOf> => {
  const made = sourceOf(replies);
  return { ai: clientOf(made.source), ...made };
};
const user = (content: string): { role: "user"; content: string } => ({ role: "user", content });
const hello = { model: "fake", messages: [user("hello")] };
const post = (fetch_: typeof fetch, path: string, body: unknown, init: RequestInit = {}): Promise<Response> =>
  fetch_(`http://page/v1${path}`, { method: "POST", body: JSON.stringify(body), ...init });

describe("OpenAI's client", () => {
  it("chats with a whole engine", async () => {
    const { engine } = open();
    const ai = clientOf(engine);
    const request = { ...hello, temperature: 0, max_tokens: 5 };
    const answer = await ai.chat.completions.create({ ...request, model: "fake" });
    const own = await engine.chat.completions.create({ ...request, stream: false });
    expect(answer.choices[0]!.message).toEqual({ ...own.choices[0]!.message, refusal: null });
    expect(answer.usage?.completion_tokens).toBe(5);
    let text = "";
    for await (const chunk of await ai.chat.completions.create({ ...request, stream: true }))
      text += chunk.choices[0]?.delta.content ?? "";
    expect(text).toBe(own.choices[0]!.message.content);
    expect((await ai.completions.create({ model: "fake", prompt: "x", max_tokens: 2 })).choices[0]!.text).not.toBe("");
  });

  it("streams, with usage when it is asked for", async () => {
    const { ai } = client({ text: ["Hel", "lo"] });
    const options = { stream_options: { include_usage: true } };
    const chunks = [];
    for await (const chunk of await ai.chat.completions.create({ ...hello, stream: true, ...options }))
      chunks.push(chunk);
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("Hello");
    expect(chunks.at(-2)!.choices[0]!.finish_reason).toBe("stop");
    expect(chunks.at(-1)!.usage).toMatchObject({ completion_tokens: 2 });
  });

  it("collects a stream with its own helper, and tools with its runner", async () => {
    const calls = [{ id: "abcdefghi", name: "weather", arguments: '{"city": "Vienna"}' }];
    const { ai, asked } = client({ calls }, { text: ["It rains."] });
    const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
    const runner = ai.chat.completions.runTools({
      ...hello,
      stream: true,
      tools: [
        {
          type: "function",
          function: {
            name: "weather",
            description: "Of a city.",
            parameters,
            parse: JSON.parse,
            function: ({ city }: { city: string }) => `rain in ${city}`,
          },
        },
      ],
    });
    expect(await runner.finalContent()).toBe("It rains.");
    expect(asked[1]!.messages.at(-1)).toMatchObject({ role: "tool", content: "rain in Vienna" });
    expect(asked[0]!.options.tools).toMatchObject([{ function: { name: "weather", parameters } }]);
  });

  it("parses what a zod schema asked for", async () => {
    const Person = z.object({ name: z.string(), age: z.number().int() });
    const { ai, asked } = client({ text: ['{"name": "Ada", "age": 36}'] });
    const answer = await ai.chat.completions.parse({ ...hello, response_format: zodResponseFormat(Person, "person") });
    expect(answer.choices[0]!.message.parsed).toEqual({ name: "Ada", age: 36 });
    expect(asked[0]!.format).toMatchObject({ kind: "schema", schema: { required: ["name", "age"] } });
  });

  it("keeps reasoning beside the words", async () => {
    const { ai } = client({ reasoning: "hm", text: ["yes"] });
    const answer = await ai.chat.completions.create(hello);
    expect(answer.choices[0]!.message).toMatchObject({ content: "yes", reasoning_content: "hm" });
  });

  it("may say how OpenAI's servers cache and bill, and is refused what would be dropped", async () => {
    const { ai } = client({ text: ["yes"] });
    await ai.chat.completions.create({ ...hello, service_tier: "auto", prompt_cache_key: "k", safety_identifier: "s" });
    const refused = ai.chat.completions.create({ ...hello, reasoning_effort: "high" });
    await expect(refused).rejects.toMatchObject({ status: 400, param: "reasoning_effort", code: "invalid-request" });
  });

  it("has log-probabilities of completions by OpenAI's names", async () => {
    const { engine } = open();
    const request = { model: "fake", prompt: "x", max_tokens: 2, temperature: 0, logprobs: 1 };
    const { choices } = await clientOf(engine).completions.create(request);
    const { tokens, token_logprobs: values, top_logprobs: tops } = choices[0]!.logprobs!;
    expect([tokens!.length, values!.length]).toEqual([2, 2]);
    expect(Object.keys(tops![0]!)).toEqual([tokens![0]]);
    const list = await clientOf(engine).completions.create({ ...request, prompt: ["x"] });
    expect(list.choices[0]!.text).toBe(choices[0]!.text);
    const two = clientOf(engine).completions.create({ ...request, prompt: ["x", "y"] });
    await expect(two).rejects.toMatchObject({ status: 400, param: "prompt" });
  });

  it("lists models, and finds one by its name", async () => {
    const one = sourceOf([{ text: ["one"] }]);
    const two = sourceOf([{ text: ["two"] }]);
    const ai = clientOf({ "org/a": one.source, b: two.source });
    expect((await ai.models.list()).data.map(({ id }) => id)).toEqual(["org/a", "b"]);
    expect(await ai.models.retrieve("org/a")).toMatchObject({ id: "org/a", object: "model", owned_by: "mlcweb" });
    const { choices } = await ai.chat.completions.create({ ...hello, model: "b" });
    expect(choices[0]!.message.content).toBe("two");
    await expect(ai.models.retrieve("c")).rejects.toThrow(NotFoundError);
    await expect(ai.chat.completions.create(hello)).rejects.toThrow("There is no model fake: there is org/a, b.");
    await expect(ai.chat.completions.create({ messages: [user("x")] } as never)).rejects.toThrow(BadRequestError);
    expect((await clientOf([one.source]).models.list()).data.map(({ id }) => id)).toEqual(["fake"]);
  });

  it("stops by its signal: before, while it waits, and in a stream", async () => {
    const { ai, state, source, queue } = client({ endless: true });
    const gone = ai.chat.completions.create(hello, { signal: AbortSignal.abort() });
    await expect(gone).rejects.toThrow(APIUserAbortError);
    const stop = new AbortController();
    const whole = ai.chat.completions.create(hello, { signal: stop.signal });
    await vi.waitFor(() => expect(state.tokens).toBeGreaterThan(2));
    const waiting = ai.chat.completions.create(hello, { signal: stop.signal });
    const both = Promise.allSettled([whole, waiting]);
    stop.abort();
    for (const one of await both) expect((one as PromiseRejectedResult).reason).toBeInstanceOf(APIUserAbortError);
    const stream = await ai.chat.completions.create({ ...hello, stream: true });
    let count = 0;
    for await (const _ of stream) if (++count === 3) stream.controller.abort();
    await vi.waitFor(() => expect(state.generating).toBe(0));
    state.replies = [{ text: ["next"] }];
    const next = await source.chat.completions.create({ messages: [user("x")], stream: false });
    expect(next).toMatchObject({ choices: [{ message: { content: "next" } }] });
    await expect(queue.enter()).resolves.toBeDefined();
  });

  it("gets errors by its own classes", async () => {
    const lost = new DeviceLostError("The GPU is gone.");
    const long = new ContextLengthError(50, 20);
    const { ai } = client({ error: lost }, { error: long }, { error: new Error("a defect") });
    const ask = (): Promise<unknown> => ai.chat.completions.create(hello);
    await expect(ask()).rejects.toMatchObject({ status: 503, code: "device-lost", type: "server_error" });
    await expect(ask()).rejects.toMatchObject({ status: 400, code: "context_length_exceeded" });
    await expect(ask()).rejects.toThrow(InternalServerError);
    const hot = ai.chat.completions.create({ ...hello, temperature: 3 });
    await expect(hot).rejects.toMatchObject({ status: 400, param: "temperature", type: "invalid_request_error" });
    await expect(hot).rejects.toThrow(BadRequestError);
    await expect(hot).rejects.not.toThrow(AuthenticationError);
    await expect(ai.embeddings.create({ model: "fake", input: "x" })).rejects.toThrow("makes no embeddings");
    await expect(ai.responses.create({ model: "fake", input: "x" })).rejects.toThrow(NotFoundError);
  });

  it("hears in the stream of what goes wrong there", async () => {
    const { ai } = client({ text: ["Hel"], error: new DeviceLostError("The GPU is gone.") });
    let text = "";
    const read = async (): Promise<void> => {
      for await (const chunk of await ai.chat.completions.create({ ...hello, stream: true }))
        text += chunk.choices[0]!.delta.content ?? "";
    };
    const error = await read().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ code: "device-lost", message: expect.stringContaining("The GPU is gone.") });
    expect(text).toBe("Hel");
  });

  it("hears that the engine was unloaded", async () => {
    const { engine } = open();
    const ai = clientOf(engine);
    await engine.unload();
    await expect(ai.chat.completions.create(hello)).rejects.toMatchObject({ status: 503, code: "unloaded" });
    expect(() => createFetch(engine)).toThrow(UnloadedError);
  });
});

describe("createFetch", () => {
  it("writes server-sent events", async () => {
    const response = await post(createFetch(sourceOf([{ text: ["hi"] }]).source), "/chat/completions", {
      ...hello,
      stream: true,
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const events = (await response.text()).split("\n\n");
    expect(events.at(-1)).toBe("");
    expect(events.at(-2)).toBe("data: [DONE]");
    expect(JSON.parse(events[0]!.slice("data: ".length))).toMatchObject({ object: "chat.completion.chunk" });
  });

  it("generates as fast as it is read, and ends with the body", async () => {
    const { source, state } = sourceOf([{ endless: true }]);
    const response = await post(createFetch(source), "/chat/completions", { ...hello, stream: true });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(state.tokens).toBe(0);
    const reader = response.body!.getReader();
    await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(state.tokens).toBe(1);
    await reader.cancel();
    await vi.waitFor(() => expect(state.ended).toHaveLength(1));
    expect(state.generating).toBe(0);
  });

  it("ends while a read waits, and leaves a body that nobody read without a turn", async () => {
    const { source, state, queue } = sourceOf([{ endless: true }]);
    const fetch_ = createFetch(source);
    const held = await queue.enter();
    const stop = new AbortController();
    const request = { ...hello, stream: true };
    const response = await post(fetch_, "/chat/completions", request, { signal: stop.signal });
    const read = response.text();
    stop.abort(new Error("enough"));
    await expect(read).rejects.toThrow("enough");
    const unread = await post(fetch_, "/chat/completions", request);
    await unread.body!.cancel();
    held.leave();
    await expect(queue.enter()).resolves.toBeDefined();
    expect(state.tokens).toBe(0);
  });

  it("says length where an answer was interrupted", async () => {
    const { source, state } = sourceOf([{ endless: true }]);
    const answer = post(createFetch(source), "/chat/completions", hello);
    await vi.waitFor(() => expect(state.tokens).toBeGreaterThan(1));
    source.interrupt();
    expect(await (await answer).json()).toMatchObject({ choices: [{ finish_reason: "length" }] });
  });

  it("rejects as fetch does when its signal has fired", async () => {
    const fetch_ = createFetch(sourceOf([{}]).source);
    const error = await post(fetch_, "/chat/completions", hello, { signal: AbortSignal.abort() }).catch((e) => e);
    expect(error).toMatchObject({ name: "AbortError" });
  });

  it("answers what is not right with a status and OpenAI's body", async () => {
    const fetch_ = createFetch(sourceOf([{}]).source, { maxBodyBytes: 100 });
    const at = (path: string, init?: RequestInit): Promise<Response> => fetch_(`http://page/v1${path}`, init);
    const body = (text: BodyInit): RequestInit => ({ method: "POST", body: text });
    const cases: [number, Promise<Response>][] = [
      [404, at("/nothing")],
      [404, fetch_("http://page/chat/completions", body("{}"))],
      [404, fetch_("https://elsewhere.example/v1/chat/completions", body("{}"))],
      [404, at("/models/%zz")],
      [405, at("/chat/completions")],
      [405, at("/models", body(""))],
      [400, at("/chat/completions", body("{"))],
      [400, at("/chat/completions", body(new Uint8Array([0xff])))],
      [400, at("/chat/completions", body("[]"))],
      [400, at("/chat/completions", body("null"))],
      [400, at("/chat/completions", body("{}"))],
      [400, at("/chat/completions", body('{"messages": [], "signal": {}}'))],
      [400, at("/chat/completions", body('{"model": 3}'))],
      [400, at("/completions", body('{"prompt": "x", "logprobs": true}'))],
      [413, at("/chat/completions", body(`"${"x".repeat(100)}"`))],
      [400, at("/embeddings", body("{}"))],
    ];
    for (const [status, answer] of cases) {
      const response = await answer;
      const { error } = (await response.json()) as { error: Record<string, unknown> };
      expect([response.status, error.type, Object.keys(error)], String(error.message)).toEqual([
        status,
        "invalid_request_error",
        ["message", "type", "param", "code"],
      ]);
    }
    expect((await at("/chat/completions")).headers.get("allow")).toBe("POST");
    expect((await at("/models/")).status).toBe(200);
    expect((await fetch_(new Request("http://page/v1/models"))).status).toBe(200);
    expect((await fetch_(new URL("http://page/v1/models"), { method: "HEAD" })).status).toBe(200);
  });

  it("passes other requests on where it is told to", async () => {
    const elsewhere = vi.fn(async () => new Response("theirs"));
    const fetch_ = createFetch(sourceOf([{}]).source, { elsewhere, baseURL: "/api/" });
    expect(await (await fetch_("https://example.com/v1/models", { method: "POST" })).text()).toBe("theirs");
    expect(elsewhere).toHaveBeenCalledWith("https://example.com/v1/models", { method: "POST" });
    expect((await fetch_("/api/models")).status).toBe(200);
    expect(elsewhere).toHaveBeenCalledTimes(1);
  });
});

it("has OpenAI's types", () => {
  expectTypeOf<OpenAIChatCompletion>().toExtend<Chat.ChatCompletion>();
  expectTypeOf<OpenAIChatChunk>().toExtend<Chat.ChatCompletionChunk>();
  expectTypeOf<OpenAICompletion>().toExtend<OpenAIText>();
  const request = {
    model: "fake",
    messages: [
      { role: "developer", content: "Be brief." },
      { role: "user", content: [{ type: "text", text: "hi" }] },
      {
        role: "assistant",
        content: null,
        tool_calls: [{ id: "a", type: "function", function: { name: "f", arguments: "{}" } }],
      },
      { role: "tool", tool_call_id: "a", content: "x" },
    ],
    tools: [{ type: "function", function: { name: "f", parameters: {}, strict: null } }],
    tool_choice: "auto",
    response_format: { type: "json_schema", json_schema: { name: "x", schema: {}, strict: true } },
    stop: ["a"],
    logit_bias: { 3: 1 },
    max_completion_tokens: 4,
    stream_options: { include_usage: true },
    metadata: {},
    seed: null,
  } as const;
  type Mutable<T> = T extends (...args: never) => unknown ? T : { -readonly [K in keyof T]: Mutable<T[K]> };
  expectTypeOf<Mutable<typeof request>>().toExtend<Chat.ChatCompletionCreateParams>();
  expectTypeOf<Mutable<typeof request>>().toExtend<ChatRequest>();
});
