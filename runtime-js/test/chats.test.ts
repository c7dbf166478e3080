import { describe, expect, it } from "vitest";
import type { ExampleChat } from "../src/contract/index.js";
import { checkChats, type Renderer } from "../src/engine/chats.js";
import { InvalidRequestError } from "../src/errors.js";
import { ChatTemplate } from "../src/text/template.js";

const TEMPLATE =
  "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}" +
  "<{{ m.role }}>{{ m.content }}{% endfor %}{{ tools | length if tools }}{{ strftime_now(' %F') }}";
function renderer(chat_template = TEMPLATE): Renderer {
  const template = new ChatTemplate({ chat_template });
  return {
    renderChat: (messages, options) => template.render(messages, options),
    encodeChat: (messages, options) => [...template.render(messages, options)].map((c) => c.codePointAt(0)!),
  };
}
const ids = (text: string): number[] => [...text].map((c) => c.codePointAt(0)!);
const text = "<user>hi 2024-07-26";
const messages = [{ role: "user", content: "hi" }];
const right = { messages, text, tokens: ids(text) };
const difference = (chat: object, from = renderer()): string | null =>
  checkChats([chat as ExampleChat], from)[0]!.difference;

describe("example chats", () => {
  it("are rendered on the compiler's day, with tools, and refused alike", () => {
    const withTools = "<user>hi1 2024-07-26";
    const chats: ExampleChat[] = [
      right,
      { messages, tools: [{ type: "function" }], text: withTools, tokens: ids(withTools) },
      { messages: [{ role: "system", content: "s" }, ...messages], refused: true },
    ];
    expect(checkChats(chats, renderer())).toEqual([
      { messages: 1, tools: false, ok: true, difference: null },
      { messages: 1, tools: true, ok: true, difference: null },
      { messages: 2, tools: false, ok: true, difference: null },
    ]);
  });
  it("that differ are told by place", () => {
    expect(difference({ ...right, text: "<user>ha 2024-07-26" })).toBe(
      'at character 7 the engine renders "i 2024-07-26", and the compiler "a 2024-07-26"',
    );
    expect(difference({ ...right, text: `${text}\n` })).toBe(
      'at character 19 the engine renders the end, and the compiler "\\n"',
    );
    expect(difference({ ...right, tokens: [...right.tokens.slice(0, 3), 7] })).toBe(
      "the text is the same; at token 3 of it the engine has 101 114 62 104, and the compiler 7",
    );
    expect(difference({ ...right, tokens: [...right.tokens, 5] })).toMatch(
      /at token 19 of it the engine has the end, and the compiler 5$/,
    );
  });
  it("that one side refuses are told", () => {
    expect(difference({ messages, refused: true })).toBe(
      `the compiler's template refuses it, and the engine renders ${JSON.stringify(text)}`,
    );
    expect(difference(right, renderer("{{ missing.x }}"))).toMatch(
      /^the engine refuses it: messages: .*'missing' is undefined/,
    );
    expect(
      difference(
        { ...right, tools: [] },
        {
          ...renderer(),
          renderChat: () => {
            throw new InvalidRequestError("tools", "none");
          },
        },
      ),
    ).toBe("the engine refuses it: tools: none");
  });
});
