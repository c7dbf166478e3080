// Turns the engine's answers into the AI SDK's: whole ones into content, and streams into parts, where words and
// reasoning are blocks with a start and an end.
import type {
  LanguageModelV4Content,
  LanguageModelV4FinishReason,
  LanguageModelV4StreamPart,
  LanguageModelV4Usage,
  SharedV4Warning,
} from "@ai-sdk/provider";
import type { AnswerMessage, ChatCompletionChunk, FinishReason, ToolCallDelta, Usage } from "../chat/types.js";

const REASONS: Readonly<Record<FinishReason, LanguageModelV4FinishReason["unified"]>> = {
  stop: "stop",
  length: "length",
  tool_calls: "tool-calls",
  abort: "interrupted",
};

export const reasonOf = (reason: FinishReason): LanguageModelV4FinishReason => ({
  unified: REASONS[reason],
  raw: reason,
});

export function usageOf(usage: Usage): LanguageModelV4Usage {
  const reasoning = usage.completion_tokens_details?.reasoning_tokens;
  const cached = usage.extra.cached_prompt_tokens;
  return {
    inputTokens: {
      total: usage.prompt_tokens,
      noCache: usage.prompt_tokens - cached,
      cacheRead: cached,
      cacheWrite: undefined,
    },
    outputTokens: {
      total: usage.completion_tokens,
      text: usage.completion_tokens - (reasoning ?? 0),
      reasoning,
    },
    raw: { ...usage } as NonNullable<LanguageModelV4Usage["raw"]>,
  };
}

export function contentOf({ reasoning_content: reasoning, content, tool_calls: calls }: AnswerMessage) {
  const parts: LanguageModelV4Content[] = [];
  if (reasoning) parts.push({ type: "reasoning", text: reasoning });
  if (content) parts.push({ type: "text", text: content });
  for (const { id, function: made } of calls ?? [])
    parts.push({ type: "tool-call", toolCallId: id, toolName: made.name, input: made.arguments });
  return parts;
}

/** A stream tells of an error as a part of it. */
export async function* partsOf(
  chunks: AsyncIterable<ChatCompletionChunk>,
  warnings: SharedV4Warning[],
  raw: boolean,
): AsyncGenerator<LanguageModelV4StreamPart, void, void> {
  yield { type: "stream-start", warnings };
  try {
    yield* answerOf(chunks, raw);
  } catch (error) {
    yield { type: "error", error };
  }
}

async function* answerOf(
  chunks: AsyncIterable<ChatCompletionChunk>,
  raw: boolean,
): AsyncGenerator<LanguageModelV4StreamPart, void, void> {
  const blocks = new Blocks();
  let told = false;
  let reason: FinishReason = "stop";
  for await (const chunk of chunks) {
    if (raw) yield { type: "raw", rawValue: chunk };
    if (!told) {
      told = true;
      const { id, created, model } = chunk;
      yield { type: "response-metadata", id, timestamp: new Date(created * 1000), modelId: model };
    }
    for (const { delta, finish_reason: ended } of chunk.choices) {
      if (delta.reasoning_content) yield* blocks.say("reasoning", delta.reasoning_content);
      if (delta.content) yield* blocks.say("text", delta.content);
      for (const call of delta.tool_calls ?? []) yield* blocks.call(call);
      reason = ended ?? reason;
    }
    if (!chunk.usage) continue;
    yield* blocks.end();
    yield { type: "finish", usage: usageOf(chunk.usage), finishReason: reasonOf(reason) };
  }
}

interface Call {
  readonly id: string;
  readonly name: string;
  input: string;
}

class Blocks {
  private open: "text" | "reasoning" | undefined;
  private count = 0;
  private readonly calls = new Map<number, Call>();

  *say(kind: "text" | "reasoning", delta: string): Generator<LanguageModelV4StreamPart> {
    if (this.open !== kind) {
      yield* this.close();
      this.open = kind;
      yield { type: `${kind}-start`, id: String(++this.count) };
    }
    yield { type: `${kind}-delta`, id: String(this.count), delta };
  }

  *call({ index, id, function: made }: ToolCallDelta): Generator<LanguageModelV4StreamPart> {
    yield* this.close();
    let call = this.calls.get(index);
    if (!call) {
      call = { id: id!, name: made.name!, input: "" };
      this.calls.set(index, call);
      yield { type: "tool-input-start", id: call.id, toolName: call.name };
    }
    call.input += made.arguments;
    if (made.arguments) yield { type: "tool-input-delta", id: call.id, delta: made.arguments };
  }

  *end(): Generator<LanguageModelV4StreamPart> {
    yield* this.close();
    for (const { id, name, input } of this.calls.values()) {
      yield { type: "tool-input-end", id };
      yield { type: "tool-call", toolCallId: id, toolName: name, input };
    }
  }

  private *close(): Generator<LanguageModelV4StreamPart> {
    if (this.open) yield { type: `${this.open}-end`, id: String(this.count) };
    this.open = undefined;
  }
}
