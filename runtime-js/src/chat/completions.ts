// chat.completions.create and completions.create: requests in, OpenAI-shaped answers or chunks out.
import { ContextLengthError } from "../errors.js";
import type { ChatTurn, RenderOptions } from "../text/template.js";
import { type Answerer, type Timing, usageOf } from "./answer.js";
import { inTurn, type Queue, type Turn } from "./queue.js";
import { type ParsedRequest, parseChatRequest, parseCompletionRequest } from "./request.js";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  Completion,
  CompletionRequest,
  ContentLogprob,
  FinishReason,
  Logprobs,
  Usage,
} from "./types.js";

/** What the engine gives the API; each call throws the typed error when it is unloaded or its device is lost. */
export interface Backend {
  readonly name: string;
  readonly queue: Queue;
  readonly vocabSize: number;
  readonly contextLength: number;
  answerer(turn: Turn): Answerer;
  encodeChat(messages: readonly ChatTurn[], options: RenderOptions): number[];
  /** Stop strings of the model's chats, beside the request's. */
  readonly chatStops: readonly string[];
  encode(text: string): number[];
}

type Piece =
  | { readonly index: number; readonly text: string; readonly logprobs: ContentLogprob[] | undefined }
  | { readonly index: number; readonly reason: FinishReason };

/** The request's choices, one after the other; they share the prompt's KV cache. */
const pieces = (
  backend: Backend,
  prompt: readonly number[],
  request: ParsedRequest,
): ReturnType<typeof inTurn<Piece, Usage>> =>
  inTurn(backend.queue, request.signal, async function* (turn) {
    const answerer = backend.answerer(turn);
    const timings: Timing[] = [];
    for (let index = 0; index < request.n; index++) {
      const run = answerer.run(prompt, request, index);
      try {
        for (;;) {
          const next = await run.next();
          if (next.done) {
            timings.push(next.value.timing);
            if (timings.length === request.n) turn.leave(); // that it ended need not be read
            yield { index, reason: next.value.reason };
            break;
          }
          yield { index, ...next.value };
        }
      } finally {
        await run.return(undefined as never);
      }
    }
    return usageOf(timings);
  });

interface Choice {
  text: string;
  logprobs: ContentLogprob[];
  reason: FinishReason;
}

async function collect(
  backend: Backend,
  prompt: readonly number[],
  request: ParsedRequest,
): Promise<{ choices: Choice[]; usage: Usage }> {
  const choices = Array.from({ length: request.n }, (): Choice => ({ text: "", logprobs: [], reason: "stop" }));
  const run = pieces(backend, prompt, request);
  for (;;) {
    const { done, value } = await run.next();
    if (done) return { choices, usage: value };
    const choice = choices[value.index]!;
    if ("reason" in value) choice.reason = value.reason;
    else {
      choice.text += value.text;
      choice.logprobs.push(...(value.logprobs ?? []));
    }
  }
}

const identity = (prefix: string): { id: string; created: number } => ({
  id: `${prefix}-${crypto.randomUUID()}`,
  created: Math.floor(Date.now() / 1000),
});

const logprobsOf = (request: ParsedRequest, content: ContentLogprob[] | undefined): Logprobs | null =>
  request.host.topLogprobs !== undefined && content ? { content } : null;

function checkFits(prompt: readonly number[], backend: Backend): void {
  if (prompt.length >= backend.contextLength) throw new ContextLengthError(prompt.length, backend.contextLength);
}

export class ChatCompletions {
  constructor(private readonly backend: () => Backend) {}

  create(request: ChatRequest & { stream: true }): Promise<AsyncIterable<ChatCompletionChunk>>;
  create(request: ChatRequest & { stream?: false | null }): Promise<ChatCompletion>;
  create(request: ChatRequest): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>>;
  async create(request: ChatRequest): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> {
    const backend = this.backend();
    const { messages, template, ...rest } = parseChatRequest(request, backend.vocabSize);
    const parsed: ParsedRequest = { ...rest, stop: [...rest.stop, ...backend.chatStops] };
    const prompt = backend.encodeChat(messages, template);
    checkFits(prompt, backend);
    if (parsed.stream) return this.stream(backend, prompt, parsed);
    const { choices, usage } = await collect(backend, prompt, parsed);
    return {
      ...identity("chatcmpl"),
      object: "chat.completion",
      model: backend.name,
      usage,
      choices: choices.map(({ text, logprobs, reason }, index) => ({
        index,
        message: { role: "assistant", content: text },
        logprobs: logprobsOf(parsed, logprobs),
        finish_reason: reason,
      })),
    };
  }

  private async *stream(
    backend: Backend,
    prompt: readonly number[],
    request: ParsedRequest,
  ): AsyncGenerator<ChatCompletionChunk, void, void> {
    const head = { ...identity("chatcmpl"), object: "chat.completion.chunk" as const, model: backend.name };
    const run = pieces(backend, prompt, request);
    const begun = new Set<number>();
    try {
      for (;;) {
        const { done, value } = await run.next();
        if (done) {
          if (request.includeUsage) yield { ...head, choices: [], usage: value };
          return;
        }
        const { index } = value;
        const role = begun.has(index) ? {} : { role: "assistant" as const };
        begun.add(index);
        if ("reason" in value)
          yield { ...head, choices: [{ index, delta: role, logprobs: null, finish_reason: value.reason }] };
        else
          yield {
            ...head,
            choices: [
              {
                index,
                delta: { ...role, content: value.text },
                logprobs: logprobsOf(request, value.logprobs),
                finish_reason: null,
              },
            ],
          };
      }
    } finally {
      await run.return();
    }
  }
}

export class Completions {
  constructor(private readonly backend: () => Backend) {}

  create(request: CompletionRequest & { stream: true }): Promise<AsyncIterable<Completion>>;
  create(request: CompletionRequest & { stream?: false | null }): Promise<Completion>;
  async create(request: CompletionRequest): Promise<Completion | AsyncIterable<Completion>> {
    const backend = this.backend();
    const parsed = parseCompletionRequest(request, backend.vocabSize);
    const prompt = backend.encode(parsed.prompt);
    checkFits(prompt, backend);
    if (parsed.stream) return this.stream(backend, prompt, parsed);
    const { choices, usage } = await collect(backend, prompt, parsed);
    return {
      ...identity("cmpl"),
      object: "text_completion",
      model: backend.name,
      usage,
      choices: choices.map(({ text, logprobs, reason }, index) => ({
        index,
        text,
        logprobs: logprobsOf(parsed, logprobs),
        finish_reason: reason,
      })),
    };
  }

  private async *stream(
    backend: Backend,
    prompt: readonly number[],
    request: ParsedRequest,
  ): AsyncGenerator<Completion, void, void> {
    const head = { ...identity("cmpl"), object: "text_completion" as const, model: backend.name };
    const run = pieces(backend, prompt, request);
    try {
      for (;;) {
        const { done, value } = await run.next();
        if (done) {
          if (request.includeUsage) yield { ...head, choices: [], usage: value };
          return;
        }
        const { index } = value;
        if ("reason" in value)
          yield { ...head, choices: [{ index, text: "", logprobs: null, finish_reason: value.reason }] };
        else
          yield {
            ...head,
            choices: [{ index, text: value.text, logprobs: logprobsOf(request, value.logprobs), finish_reason: null }],
          };
      }
    } finally {
      await run.return();
    }
  }
}
