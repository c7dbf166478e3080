// Checks what is said to a session, and turns it into the engine's messages.
import { lasting } from "../chat/bitmaps.js";
import type { ChatMessage, MessagePart } from "../chat/types.js";
import { type Content, joinContents, kindOf } from "../text/content.js";
import { exception, notSupported } from "./exceptions.js";
import type { PromptInput } from "./types.js";

/** Messages, of which the last may be the beginning of the answer. */
export interface Input {
  readonly messages: readonly ChatMessage[];
  readonly prefix: string;
}

/** `begun`: there are messages already, so that none may be the system's. `images`: pictures were expected. */
export function parseInput(input: PromptInput, begun: boolean, images: boolean): Input {
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
    const said = contentOf(content, images && role === "user");
    if (!isPrefix) {
      messages.push({ role, content: said });
      continue;
    }
    if (typeof said !== "string" || role !== "assistant" || i < input.length - 1)
      throw exception("SyntaxError", "Only the last message, the assistant's, is a prefix.");
    prefix = said;
  }
  return { messages, prefix };
}

/** A string where there are no pictures. */
function contentOf(content: unknown, images: boolean): string | MessagePart[] {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw new TypeError("A message's content is a string or a list of parts.");
  const parts = content.map((part: unknown): string | MessagePart => {
    const { type, value } = (part ?? {}) as Record<string, unknown>;
    if (type === "image" && images) return { type, image: pictureOf(value) };
    if (type !== "text") throw notSupported(`${String(type)} was not expected here: say so in expectedInputs.`);
    if (typeof value !== "string") throw new TypeError("A text part's value is a string.");
    return value;
  });
  if (parts.every((part) => typeof part === "string")) return parts.join("");
  return parts.map((part) => (typeof part === "string" ? { type: "text", text: part } : part));
}

function pictureOf(value: unknown): ImageBitmapSource {
  if (ArrayBuffer.isView(value) || kindOf(value) === "ArrayBuffer") return new Blob([value as BufferSource]);
  if (typeof value === "object" && value !== null) return value as ImageBitmapSource; // the engine knows which
  throw new TypeError("An image part's value is a picture, or the bytes of one.");
}

/** The same, whose pictures do not change while the session goes on. */
export const keeping = async ({ messages, prefix }: Input): Promise<Input> => ({
  messages: await lasting(messages),
  prefix,
});

/** One message's words and pictures after another's. */
export function both(
  first: ChatMessage["content"],
  second: ChatMessage["content"],
): NonNullable<ChatMessage["content"]> {
  return joinContents((first ?? "") as Content, (second ?? "") as Content, "\n\n") as NonNullable<
    ChatMessage["content"]
  >;
}

/** Messages as templates have them: users' that follow each other are one, since many templates refuse two. */
export function joined(messages: readonly ChatMessage[]): ChatMessage[] {
  const turns: ChatMessage[] = [];
  for (const message of messages) {
    const last = turns.at(-1);
    if (last?.role === "user" && message.role === "user")
      turns[turns.length - 1] = { role: "user", content: both(last.content, message.content) };
    else turns.push(message);
  }
  return turns;
}
