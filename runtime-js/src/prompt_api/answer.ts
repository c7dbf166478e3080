// Gets one answer: it streams the engine's, calls the tools that the model asks for, and asks again with their results
// until the model answers in words.
import type { ChatRequest } from "../chat/request.js";
import type { ChatSource } from "../chat/source.js";
import type { AnswerToolCall, ChatCompletionChunk, ChatMessage, Usage } from "../chat/types.js";
import { codeOf, exception, outOfContext } from "./exceptions.js";
import type { Tool } from "./types.js";

const MOST_ROUNDS = 16;

export interface Answered {
  /** The assistant's messages, and its tools'. */
  readonly messages: ChatMessage[];
  readonly usage: Usage;
}

/** Tells `onText` of the words as they come, without `prefix`, which they begin with. */
export async function answer(
  source: ChatSource,
  request: ChatRequest & { signal: AbortSignal },
  tools: readonly Tool[],
  prefix: string,
  onText: (text: string) => void,
): Promise<Answered> {
  const messages: ChatMessage[] = [];
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const asked = { ...request, messages: [...request.messages, ...messages] };
    const { text, calls, usage } = await listen(source, asked, round === 0 ? prefix : "", onText).catch((error) => {
      // After tools have run, nobody may ask the same again.
      throw round > 0 && codeOf(error) === "context-length" ? outOfContext(error) : error;
    });
    messages.push({ role: "assistant", content: text, ...(calls.length > 0 && { tool_calls: calls }) });
    if (calls.length === 0) return { messages, usage };
    messages.push(...(await Promise.all(calls.map((call) => execute(call, tools, request.signal)))));
  }
  throw exception("OperationError", `The model called tools ${MOST_ROUNDS} times in a row, and said nothing.`);
}

async function listen(source: ChatSource, request: ChatRequest, prefix: string, onText: (text: string) => void) {
  const chunks = (await source.chat.completions.create({
    ...request,
    stream: true,
    stream_options: { include_usage: true },
  })) as AsyncIterable<ChatCompletionChunk>;
  let text = "";
  let usage: Usage | undefined;
  const calls: AnswerToolCall[] = [];
  for await (const chunk of chunks) {
    usage = chunk.usage ?? usage;
    const delta = chunk.choices[0]?.delta;
    for (const { index, id, function: made } of delta?.tool_calls ?? []) {
      if (id !== undefined) calls[index] = { id, type: "function", function: { name: made.name!, arguments: "" } };
      calls[index]!.function.arguments += made.arguments;
    }
    if (!delta?.content) continue;
    const shown = Math.max(text.length, prefix.length);
    text += delta.content;
    if (text.length > shown) onText(text.slice(shown));
  }
  return { text, calls, usage: usage! };
}

/** What a tool fails with is told to the model. */
async function execute({ id, function: made }: AnswerToolCall, tools: readonly Tool[], signal: AbortSignal) {
  let content: string;
  try {
    const input = JSON.parse(made.arguments || "{}") as Record<string, unknown>;
    const result = await unlessAborted(signal, async () =>
      tools.find(({ name }) => name === made.name)!.execute(input),
    );
    content = typeof result === "string" ? result : (JSON.stringify(result) ?? "");
  } catch (error) {
    signal.throwIfAborted();
    content = `Error: ${error instanceof Error ? error.message : String(error)}`;
  }
  return { role: "tool" as const, tool_call_id: id, name: made.name, content };
}

export function unlessAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason);
    if (signal.aborted) return aborted();
    signal.addEventListener("abort", aborted, { once: true });
    work()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", aborted));
  });
}
