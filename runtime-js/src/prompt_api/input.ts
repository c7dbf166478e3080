// Checks what is said to a session, and turns it into the engine's messages.
import type { ChatMessage } from "../chat/types.js";
import { exception, notSupported } from "./exceptions.js";
import type { PromptInput } from "./types.js";

/** Messages, of which the last may be the beginning of the answer. */
export interface Input {
  readonly messages: readonly ChatMessage[];
  readonly prefix: string;
}

/** `begun`: there are messages already, so that none may be the system's. */
export function parseInput(input: PromptInput, begun: boolean): Input {
  if (typeof input === "string") return { messages: [{ role: "user", content: input }], prefix: "" };
  if (!Array.isArray(input)) throw new TypeError("A prompt is a string or a list of messages.");
  if (input.length === 0) return { messages: [{ role: "user", content: "" }], prefix: "" };
  let prefix = "";
  const messages: ChatMessage[] = [];
  for (const [i, given] of input.entries()) {
    const { role, content, prefix: isPrefix } = (given ?? {}) as Record<string, unknown>;
    if (role !== "system" && role !== "user" && role !== "assistant")
      throw new TypeError(`A message's role is system, user or assistant, not ${String(role)}.`);
    if (role === "system" && (begun || i > 0)) throw new TypeError("Only a session's first message is the system's.");
    const text = textOf(content);
    if (!isPrefix) {
      messages.push({ role, content: text });
      continue;
    }
    if (role !== "assistant" || i < input.length - 1)
      throw exception("SyntaxError", "Only the last message, the assistant's, is a prefix.");
    prefix = text;
  }
  return { messages, prefix };
}

function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw new TypeError("A message's content is a string or a list of parts.");
  return content
    .map((part: unknown) => {
      const { type, value } = (part ?? {}) as Record<string, unknown>;
      if (type !== "text") throw notSupported(`This model reads text, and no ${String(type)}.`);
      if (typeof value !== "string") throw new TypeError("A text part's value is a string.");
      return value;
    })
    .join("");
}

/** Messages as templates have them: users' that follow each other are one, since many templates refuse two. */
export function joined(messages: readonly ChatMessage[]): ChatMessage[] {
  const turns: ChatMessage[] = [];
  for (const message of messages) {
    const last = turns.at(-1);
    if (last?.role === "user" && message.role === "user")
      turns[turns.length - 1] = { role: "user", content: `${last.content}\n\n${message.content}` };
    else turns.push(message);
  }
  return turns;
}
