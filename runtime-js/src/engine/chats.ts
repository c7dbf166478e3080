// Renders and tokenizes a bundle's example conversations, and compares them with the compiler's.
import type { ExampleChat } from "../contract/index.js";
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

/** `chats` of a validation that was checked, against what `renderer` makes of their messages. */
export function checkChats(chats: readonly ExampleChat[], renderer: Renderer): ChatReport[] {
  return chats.map((chat) => {
    const difference = compare(chat, renderer);
    return { messages: chat.messages.length, tools: chat.tools !== undefined, ok: difference === null, difference };
  });
}

function compare(chat: ExampleChat, renderer: Renderer): string | null {
  const messages = chat.messages as unknown as readonly ChatTurn[];
  const options: RenderOptions = { tools: chat.tools, now: NOW };
  let text: string;
  try {
    text = renderer.renderChat(messages, options);
  } catch (error) {
    return chat.refused ? null : `the engine refuses it: ${(error as Error).message}`;
  }
  if (chat.text === undefined) return `the compiler's template refuses it, and the engine renders ${excerpt(text, 0)}`;
  if (text !== chat.text) {
    const at = firstDifference(text, chat.text);
    return `at character ${at} the engine renders ${excerpt(text, at)}, and the compiler ${excerpt(chat.text, at)}`;
  }
  const tokens = renderer.encodeChat(messages, options),
    expected = chat.tokens!;
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
