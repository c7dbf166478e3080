// Asks again with simpler messages where a model's chat template refuses them: WebLLM's templates refuse fewer.
import { InvalidRequestError } from "../errors.js";

interface Message {
  readonly role: string;
  readonly content?: unknown;
}

/** Joins equal roles in a row, and then also puts what the system says into the first turn of the user. */
export async function leniently<T>(messages: unknown, ask: (messages: unknown) => Promise<T>): Promise<T> {
  try {
    return await ask(messages);
  } catch (error) {
    if (!refused(error) || !plain(messages)) throw error;
    for (const simpler of [joined(messages), joined(folded(messages))]) {
      try {
        return await ask(simpler);
      } catch (again) {
        if (!refused(again)) throw again;
      }
    }
    throw error; // the one that is about what the page wrote
  }
}

const refused = (error: unknown): boolean => error instanceof InvalidRequestError && error.param === "messages";

function plain(messages: unknown): messages is Message[] {
  return Array.isArray(messages) && messages.every((one) => typeof (one as Message | null)?.role === "string");
}

/** Only messages that have nothing but words are joined. */
function joined(messages: readonly Message[]): Message[] {
  const turns: Message[] = [];
  for (const message of messages) {
    const last = turns.at(-1);
    if (last?.role === message.role && onlyWords(last) && onlyWords(message))
      turns[turns.length - 1] = { role: last.role, content: both(last.content, message.content) };
    else turns.push(message);
  }
  return turns;
}

/** The system speaks as the user, whose next turn it is joined to. */
function folded(messages: readonly Message[]): Message[] {
  return messages.map((one) => (isSystem(one) && onlyWords(one) ? { role: "user", content: one.content } : one));
}

const isSystem = ({ role }: Message): boolean => role === "system" || role === "developer";

function onlyWords(message: Message): boolean {
  const { content } = message;
  const words = typeof content === "string" || Array.isArray(content);
  return words && Object.entries(message).every(([key, value]) => key === "role" || key === "content" || value == null);
}

function both(first: unknown, second: unknown): unknown {
  if (typeof first === "string" && typeof second === "string") return `${first}\n\n${second}`;
  const parts = (content: unknown): unknown[] =>
    typeof content === "string" ? [{ type: "text", text: content }] : (content as unknown[]);
  return [...parts(first), { type: "text", text: "\n\n" }, ...parts(second)];
}
