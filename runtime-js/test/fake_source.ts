// Makes a source of answers that are written in the test, behind the real API: requests are checked and queue, answers
// have the engine's shapes. A word is a token.
import { Timing } from "../src/chat/answer.js";
import { type Backend, ChatCompletions, Completions, type ParsedRequest, Queue } from "../src/chat/index.js";
import type { AnswerFormat } from "../src/chat/response_format.js";
import type { CountingSource } from "../src/chat/source.js";
import type { FinishReason } from "../src/chat/types.js";
import { CancelledError } from "../src/errors.js";
import { code } from "../src/images/code.js";
import { type ContentPart, partsOf } from "../src/text/content.js";
import type { ChatTurn, RenderOptions } from "../src/text/template.js";
import { FREE } from "./fake_model.js";
import { SMALL } from "./smolvlm.js";

export interface Reply {
  reasoning?: string;
  /** The pieces of a stream. */
  text?: readonly string[];
  calls?: readonly { id: string; name: string; arguments: string }[];
  reason?: FinishReason;
  /** Thrown after all of the above. */
  error?: Error;
  /** Goes on for ever, until it is told to end. */
  endless?: boolean;
}
export interface Asked {
  messages: readonly ChatTurn[];
  options: RenderOptions;
  request: ParsedRequest | undefined;
  format: AnswerFormat | undefined;
}

const words = (text: string): number[] => (text.match(/\S+/g) ?? []).map((word) => word.length);
const rendered = (messages: readonly ChatTurn[]): string =>
  messages.map(({ role, content }) => `${role} ${partsOf(content).map(written).join("")}`).join("\n");
const written = (part: ContentPart): string => (part.type === "text" ? part.text : SMALL.token);

/** Gives the replies in order, the last one again and again. `asked` has what was asked of it; with `images`, it takes
 * pictures. */
export function sourceOf(replies: readonly Reply[], contextLength = 1000, images = false) {
  const asked: Asked[] = [];
  const state = { generating: 0, tokens: 0, ended: [] as string[], replies: [...replies] };
  const queue = new Queue();
  const backend: Backend = {
    name: "fake",
    queue,
    vocabSize: 1000,
    contextLength,
    chatStops: [],
    answers: {
      reasoning: { begin: "<think>", end: "</think>" },
    } as Backend["answers"],
    templateHasTools: true,
    ...(images && { images: { ...SMALL }, imagesCode: async () => code }),
    constrain: async ({ formats }) => {
      asked.at(-1)!.format = formats[0];
      return () => FREE;
    },
    renderChat: (messages, options) => {
      asked.push({ messages, options, request: undefined, format: undefined });
      return rendered(messages);
    },
    encodeRendered: words,
    specialsIn: () => new Map(),
    token: String,
    encode: (text) => {
      asked.push({ messages: [], options: {}, request: undefined, format: undefined });
      return words(text);
    },
    async *generate(turn, prompt, request) {
      asked.at(-1)!.request = request;
      const reply = state.replies.length > 1 ? state.replies.shift()! : state.replies[0]!;
      const timing = new Timing();
      timing.promptTokens = prompt.length;
      state.generating++;
      let ended = "left";
      try {
        for await (const delta of deltas(reply)) {
          if (request.signal?.aborted) {
            ended = "cancelled";
            throw new CancelledError("Cancelled.", request.signal.reason);
          }
          if (turn.interrupted) {
            ended = "interrupted";
            return { reason: "abort", timing };
          }
          timing.tokens++;
          state.tokens++;
          yield { text: "", reasoning: "", calls: [], logprobs: undefined, ...delta };
        }
        if (reply.error) throw reply.error;
        ended = "done";
        return { reason: reply.reason ?? (reply.calls ? "tool_calls" : "stop"), timing };
      } finally {
        state.generating--;
        state.ended.push(ended);
      }
    },
  };
  const source: CountingSource = {
    info: { name: "fake", contextLength, images },
    chat: { completions: new ChatCompletions(() => backend) },
    completions: new Completions(() => backend),
    interrupt: () => queue.interrupt(),
    encodeChat: (messages) => words(rendered(messages)),
  };
  return { source, asked, state, queue };
}

async function* deltas({ reasoning, text = [], calls = [], endless }: Reply) {
  if (reasoning) yield { reasoning };
  for (const piece of text) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    yield { text: piece };
  }
  for (const [index, { id, name, arguments: json }] of calls.entries()) {
    yield { calls: [{ index, id, name, arguments: "" }] };
    const half = json.length >> 1;
    for (const part of [json.slice(0, half), json.slice(half)]) yield { calls: [{ index, arguments: part }] };
  }
  while (endless) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    yield { text: "la " };
  }
}
