// Renders and tokenizes a bundle's example conversations, and compares them with the compiler's.
import { array, check, integer, type Json, object } from "../bundle/fields.js";
import type { ChatTurn, RenderOptions } from "../text/template.js";

export interface ChatReport {
  /** How many messages it has, and whether it has tools. */
  readonly messages: number;
  readonly tools: boolean;
  readonly ok: boolean;
  /** What differs from the compiler's, in a sentence; null for nothing. */
  readonly difference: string | null;
}

export interface Renderer {
  renderChat(messages: readonly ChatTurn[], options?: RenderOptions): string;
  encodeChat(messages: readonly ChatTurn[], options?: RenderOptions): number[];
}

/** The day that the compiler renders with. */
const NOW = new Date(2024, 6, 26);

/** `json` is `chats` of validation.json, which older bundles lack. Throws BundleError when it is malformed. */
export function checkChats(json: unknown, renderer: Renderer): ChatReport[] {
  return (json === undefined ? [] : array(json, "validation.chats", 1000)).map((item, i) => {
    const path = `validation.chats[${i}]`;
    const chat = object(item, path);
    const messages = array(chat.messages, `${path}.messages`, 1000).map(
      (message) => object(message, `${path}.messages`) as Json & ChatTurn,
    );
    const tools =
      chat.tools === undefined
        ? undefined
        : array(chat.tools, `${path}.tools`, 1000).map((tool) => object(tool, `${path}.tools`));
    const difference = compare(chat, path, renderer, messages, { tools, now: NOW });
    return { messages: messages.length, tools: tools !== undefined, ok: difference === null, difference };
  });
}

function compare(
  chat: Json,
  path: string,
  renderer: Renderer,
  messages: readonly ChatTurn[],
  options: RenderOptions,
): string | null {
  let text: string;
  try {
    text = renderer.renderChat(messages, options);
  } catch (error) {
    return chat.refused === true ? null : `the engine refuses it: ${(error as Error).message}`;
  }
  if (chat.refused === true) return `the compiler's template refuses it, and the engine renders ${excerpt(text, 0)}`;
  check(typeof chat.text === "string", `${path}.text`, "must be a string");
  if (text !== chat.text) {
    const at = firstDifference(text, chat.text);
    return `at character ${at} the engine renders ${excerpt(text, at)}, and the compiler ${excerpt(chat.text, at)}`;
  }
  const expected = array(chat.tokens, `${path}.tokens`).map((id) => integer(id, `${path}.tokens`));
  const tokens = renderer.encodeChat(messages, options);
  if (tokens.join() === expected.join()) return null;
  const at = firstDifference(tokens, expected);
  const [ours, theirs] = [tokens, expected].map((ids) => ids.slice(at, at + 4).join(" ") || "the end");
  return `the text is the same; at token ${at} of it the engine has ${ours}, and the compiler ${theirs}`;
}

function firstDifference(a: ArrayLike<unknown>, b: ArrayLike<unknown>): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  return at;
}

function excerpt(text: string, at: number): string {
  return at < text.length ? JSON.stringify(text.slice(at, at + 24)) : "the end";
}
