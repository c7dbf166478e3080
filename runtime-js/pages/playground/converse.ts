// Runs one turn of the conversation: the model answers, and where it calls tools, it is given their stubs' results and
// answers again.
import type { ChatCompletionChunk, ChatMessage, ChatRequest, Completion, CompletionRequest, Engine } from "mlcweb";
import type { Reply, Watch } from "../answer.js";
import { $, add, toEnd } from "../dom.js";
import { Calls } from "./calls.js";
import { chatRequest, roundsOf } from "./request.js";
import type { Settings } from "./settings.js";
import { TokenView } from "./tokens.js";

export type ReplyTo = (chunks: Promise<AsyncIterable<ChatCompletionChunk>>, watch?: Watch) => Promise<Reply>;

const STREAMED = { stream: true, stream_options: { include_usage: true } } as const;

/** The conversation as it is after the turn. */
export async function converse(
  engine: Engine,
  settings: Settings,
  turns: readonly ChatMessage[],
  reply: ReplyTo,
): Promise<ChatMessage[]> {
  const rounds = roundsOf(settings);
  const after = [...turns];
  for (let round = 1; ; round++) {
    const request = { ...nextRequest(settings, after, round), ...STREAMED };
    const calls = new Calls();
    const watch = watching(request, (chunk) => calls.hear(chunk));
    const { message, reason } = await reply(engine.chat.completions.create(request), watch);
    noteCut(request, reason);
    if (calls.made.length === 0 || reason !== "tool_calls") {
      if (calls.made.length > 0) note("The answer ended within its calls, so they were not made.");
      after.push(message);
      return after;
    }
    after.push({ ...message, content: message.content || null, tool_calls: calls.made });
    calls.made.forEach((call, i) => {
      const content = settings.tools.find(({ name }) => name.trim() === call.function.name)?.result ?? "";
      calls.result(i, content);
      after.push({ role: "tool", tool_call_id: call.id, content });
    });
    toEnd();
    if (round === rounds) {
      note(`Stopped after ${rounds === 1 ? "one round" : `${rounds} rounds`}: the model went on calling tools.`);
      return after;
    }
  }
}

/** A model that must call a tool must do so once: held to it, it would never answer. */
function nextRequest(settings: Settings, turns: readonly ChatMessage[], round: number): ChatRequest {
  const choice = round === 1 || settings.tool_choice === "none" ? settings.tool_choice : "auto";
  return chatRequest({ ...settings, tool_choice: choice }, turns);
}

/** Goes on with a text, outside the conversation. */
export async function complete(engine: Engine, request: CompletionRequest, reply: ReplyTo): Promise<void> {
  const chunks = engine.completions.create({ ...request, ...STREAMED });
  const { reason } = await reply(chunks.then(asChat), { render: plain, ...watching(request) });
  noteCut(request, reason);
}

async function* asChat(chunks: AsyncIterable<Completion>): AsyncGenerator<ChatCompletionChunk> {
  for await (const chunk of chunks)
    yield {
      ...chunk,
      object: "chat.completion.chunk",
      choices: chunk.choices.map(({ text, finish_reason, ...rest }) => ({
        ...rest,
        finish_reason,
        delta: { content: text },
      })),
    };
}

/** How an answer to the request is shown. */
function watching(
  request: Pick<ChatRequest, "logprobs" | "response_format">,
  hear?: (chunk: ChatCompletionChunk) => void,
): Watch {
  const tokens = request.logprobs ? new TokenView() : undefined;
  return {
    hear: (chunk) => {
      hear?.(chunk);
      tokens?.hear(chunk.choices[0]?.logprobs?.content ?? []);
    },
    ...(request.response_format && { render: code }),
    ...(tokens && { paint: (element: HTMLElement) => tokens.paint(element) }),
  };
}

/** Text of a form is no Markdown. */
function code(text: string): Node {
  const block = document.createElement("pre");
  if (text) add(block, "code", "", text);
  return text ? block : document.createDocumentFragment();
}

/** What goes on with a text is of its kind. */
function plain(text: string): Node {
  const block = document.createElement("div");
  block.className = "plain";
  block.textContent = text;
  return text ? block : document.createDocumentFragment();
}

/** Half an answer of a form is not of the form. */
function noteCut({ response_format: form }: Pick<ChatRequest, "response_format">, reason: Reply["reason"]): void {
  if (form && (reason === "length" || reason === "abort")) note("The answer was cut, so it is not whole.");
}

function note(text: string): void {
  add($("messages"), "div", "note quiet", text).setAttribute("role", "status");
  toEnd();
}
