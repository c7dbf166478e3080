// Chats are rendered as transformers does, for the templates of all families (tests/fixtures/text/make_templates.py).
/// <reference types="vite/client" />
import { describe, expect, it } from "vitest";
import fixture from "../../tests/fixtures/text/templates.json";
import { BundleError, InvalidRequestError } from "../src/errors.js";
import { strftime } from "../src/text/strftime.js";
import { ChatTemplate, type ChatTurn } from "../src/text/template.js";

interface Case {
  conversation: string;
  tools: boolean;
  prompt: boolean;
  options?: Record<string, unknown>;
  text?: string;
  error?: string;
}
const sources = import.meta.glob<string>("../../tests/fixtures/text/templates/*.jinja", {
  eager: true,
  query: "?raw",
  import: "default",
});
const conversations = fixture.conversations as unknown as Record<string, ChatTurn[]>;
const now = new Date(2024, 6, 26, 14, 5, 9);

describe.each(fixture.families)("$name", ({ name, specials, kept, cases }) => {
  const source = sources[`../../tests/fixtures/text/templates/${name}.jinja`]!;
  const chat_template =
    kept === "list"
      ? [
          { name: "tool_use", template: `tools: ${source}` },
          { name: "default", template: source },
        ]
      : source;
  const template = new ChatTemplate({ ...specials, chat_template });
  const outcome = ({ conversation, tools, prompt, options }: Case): { text: string } | { error: string } => {
    const given = { addGenerationPrompt: prompt, tools: tools ? fixture.tools : undefined, variables: options, now };
    try {
      return { text: template.render(conversations[conversation]!, given) };
    } catch (error) {
      return { error: (error as Error).message.replace("messages: the model's chat template refuses them: ", "") };
    }
  };

  it("is the text of the reference, and refuses what that refuses", () => {
    expect((cases as Case[]).map(({ text: _, error: __, ...c }) => ({ ...c, ...outcome(c) }))).toEqual(cases);
  });
});

describe("chat template", () => {
  const hi = [{ role: "user", content: "hi" }];
  it("takes the default of several, and tool_use for tools", () => {
    const chat_template = [
      { name: "tool_use", template: "T {{ tools | length }}" },
      { name: "default", template: "D" },
    ];
    const template = new ChatTemplate({ chat_template });
    expect(template.render(hi)).toBe("D");
    expect(template.render(hi, { tools: fixture.tools })).toBe("T 2");
    expect(new ChatTemplate({ chat_template: [{ name: "other", template: "O" }] }).render(hi)).toBe("O");
  });
  it("says what a template refuses, and that it knows no tools", () => {
    expect(() =>
      new ChatTemplate({ chat_template: "{{ raise_exception('roles must alternate') }}" }).render(hi),
    ).toThrow(/messages: .*roles must alternate/);
    expect(() =>
      new ChatTemplate({ chat_template: "{{ messages[0].content }}" }).render(hi, { tools: fixture.tools }),
    ).toThrow(/tools: .*no place/);
    expect(() => new ChatTemplate({}).render(hi, { tools: fixture.tools })).toThrow(InvalidRequestError);
    expect(() => new ChatTemplate({ chat_template: "{% for i in range(1000000) %}{% endfor %}" }).render(hi)).toThrow(
      /Range too big/,
    );
  });
  it("says when it is no Jinja", () =>
    expect(() => new ChatTemplate({ chat_template: "{% for %}" })).toThrow(BundleError));
  it("has special tokens that are objects, and no null ones", () => {
    const template = new ChatTemplate({
      chat_template: "{{ bos_token }}{{ 'pad' if pad_token is defined }}",
      bos_token: { content: "<s>" },
      pad_token: null,
    });
    expect(template.render(hi)).toBe("<s>");
  });
  it("counts as Python does", () => {
    const template = new ChatTemplate({
      chat_template:
        "{{ range(3) | join }} {{ range(1, 4) | join }} {{ range(5, 0, -2) | join }} {{ range(2, 2) | join }}",
    });
    expect(template.render(hi)).toBe("012 123 531 ");
  });
  it("writes a dialogue for a model that has none", () => {
    const template = new ChatTemplate({});
    const messages = [
      { role: "system", content: "Be terse.\n" },
      ...hi,
      { role: "assistant", content: " Hello" },
      { role: "user", content: "bye" },
    ];
    expect(template.render(messages)).toBe("Be terse.\n\nUser: hi\nAssistant: Hello\nUser: bye\nAssistant:");
    expect([template.exists, template.stops]).toEqual([false, ["\nUser:"]]);
    expect(new ChatTemplate({ chat_template: "x" }).stops).toEqual([]);
  });
});

describe("strftime", () => {
  it("writes hours of both halves of a day, and leaves what it does not know", () => {
    expect(strftime(new Date(2025, 0, 1, 0, 0), "%I %p %j %Q %")).toBe("12 AM 001 %Q %");
    expect(strftime(new Date(2024, 11, 31, 12, 0), "%I %p %j %d/%m/%y")).toBe("12 PM 366 31/12/24");
  });
});
