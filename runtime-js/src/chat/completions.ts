// Offers chat.completions.create and completions.create: requests are checked, and answers have OpenAI's shapes.
import { prepareChat } from "./reading.js";
import { type ChatRequest, type CompletionRequest, parseChatRequest, parseCompletionRequest } from "./request.js";
import { type Backend, type ChoiceEvent, type Format, type HostExtras, type Observer, respond } from "./stream.js";
import type { ChatCompletion, ChatCompletionChunk, Completion, Logprobs } from "./types.js";

const logprobsOf = ({ logprobs }: ChoiceEvent): Logprobs | null => (logprobs ? { content: logprobs } : null);

type ChatDelta = ChatCompletionChunk["choices"][number]["delta"];

function deltaOf({ text, reasoning, calls }: ChoiceEvent): ChatDelta {
  return {
    ...((text !== "" || (reasoning === "" && calls.length === 0)) && { content: text }),
    ...(reasoning !== "" && { reasoning_content: reasoning }),
    ...(calls.length > 0 && {
      tool_calls: calls.map(({ index, id, name, arguments: json }) => ({
        index,
        ...(id !== undefined && { id, type: "function" as const }),
        function: { ...(name !== undefined && { name }), arguments: json },
      })),
    }),
  };
}

const CHAT: Format<ChatCompletion, ChatCompletionChunk> = {
  prefix: "chatcmpl",
  whole: (head, choices, usage) => ({
    ...head,
    object: "chat.completion",
    usage,
    choices: choices.map(({ index, text, reasoning, calls, logprobs, reason }) => ({
      index,
      message: {
        role: "assistant",
        content: text === "" && (calls.length > 0 || reasoning !== "") ? null : text,
        ...(reasoning !== "" && { reasoning_content: reasoning }),
        ...(calls.length > 0 && { tool_calls: [...calls] }),
      },
      logprobs,
      finish_reason: reason,
    })),
  }),
  chunk: (head, event, first) => ({
    ...head,
    object: "chat.completion.chunk",
    choices: [
      {
        index: event.index,
        delta: { ...(first && { role: "assistant" }), ...(event.reason === null && deltaOf(event)) },
        logprobs: logprobsOf(event),
        finish_reason: event.reason,
      },
    ],
  }),
  usage: (head, usage) => ({ ...head, object: "chat.completion.chunk", choices: [], usage }),
};

const TEXT: Format<Completion, Completion> = {
  prefix: "cmpl",
  whole: (head, choices, usage) => ({
    ...head,
    object: "text_completion",
    usage,
    choices: choices.map(({ index, text, logprobs, reason }) => ({ index, text, logprobs, finish_reason: reason })),
  }),
  chunk: (head, event) => ({
    ...head,
    object: "text_completion",
    choices: [{ index: event.index, text: event.text, logprobs: logprobsOf(event), finish_reason: event.reason }],
  }),
  usage: (head, usage) => ({ ...head, object: "text_completion", choices: [], usage }),
};

export class ChatCompletions {
  constructor(private readonly backend: () => Backend) {}

  create(request: ChatRequest & { stream: true }): Promise<AsyncIterable<ChatCompletionChunk>>;
  create(request: ChatRequest & { stream?: false | null }): Promise<ChatCompletion>;
  create(request: ChatRequest): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>>;
  create(request: ChatRequest): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> {
    return this.observe(request);
  }

  /** The prompt that the model gets for a request, as text and tokens. Throws what `create` throws, but for a format
   * that cannot be compiled. */
  async prompt(request: ChatRequest): Promise<{ text: string; tokens: number[] }> {
    const backend = this.backend();
    const { text } = await prepareChat(parseChatRequest(request, backend), backend);
    return { text, tokens: backend.encodeRendered(text) };
  }

  /** @internal The same, and tells `observer` as it goes. */
  async observe(
    request: ChatRequest,
    observer?: Observer,
    extras?: HostExtras,
  ): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> {
    const backend = this.backend();
    const parsed = parseChatRequest(request, backend);
    const { text, ...prepared } = await prepareChat(parsed, backend);
    const prompt = backend.encodeRendered(text);
    const stop = parsed.ignoreEos ? parsed.stop : [...parsed.stop, ...backend.chatStops];
    const host = { ...parsed.host, ...extras };
    return respond(CHAT, backend, prompt, { ...parsed, ...prepared, host, stop }, observer);
  }
}

export class Completions {
  constructor(private readonly backend: () => Backend) {}

  create(request: CompletionRequest & { stream: true }): Promise<AsyncIterable<Completion>>;
  create(request: CompletionRequest & { stream?: false | null }): Promise<Completion>;
  create(request: CompletionRequest): Promise<Completion | AsyncIterable<Completion>>;
  create(request: CompletionRequest): Promise<Completion | AsyncIterable<Completion>> {
    return this.observe(request);
  }

  /** @internal The same, and tells `observer` as it goes. */
  async observe(
    request: CompletionRequest,
    observer?: Observer,
    extras?: HostExtras,
  ): Promise<Completion | AsyncIterable<Completion>> {
    const backend = this.backend();
    const { prompt, ...parsed } = parseCompletionRequest(request, backend);
    const rules = parsed.format && { formats: [parsed.format], asked: true };
    const host = { ...parsed.host, ...extras };
    return respond(TEXT, backend, backend.encode(prompt, true), { ...parsed, host, rules }, observer);
  }
}
