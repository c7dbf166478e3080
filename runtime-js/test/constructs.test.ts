// Compares single constructs of chat templates with jinja2's renderings (tests/fixtures/text/make_constructs.py).
import { describe, expect, it } from "vitest";
import fixture from "../../tests/fixtures/text/constructs.json";
import { BundleError } from "../src/errors.js";
import { ChatTemplate, type ChatTurn } from "../src/text/template.js";

interface Case {
  kind: string;
  template: string;
  text?: string;
  error?: string;
}
const cases = fixture.cases as Case[];
const messages = fixture.messages as ChatTurn[];
const now = new Date(2024, 6, 6, 14, 5, 9);
const render = (chat_template: string, variables: Record<string, unknown> = fixture.context): string =>
  new ChatTemplate({ chat_template }).render(messages, { now, variables });

describe.each([...new Set(cases.map(({ kind }) => kind))])("%s", (kind) => {
  it.each(cases.filter((c) => c.kind === kind))("$template", ({ template, text }) => {
    if (text === undefined) expect(() => render(template)).toThrow(/the model's chat template refuses them/);
    else expect(render(template)).toBe(text);
  });
});

describe("what cannot be read", () => {
  it.each([
    ["a\n{% include 'x' %}", /include is not supported \(line 2\)/],
    ["{{ 'a }}", /unexpected character "'" \(line 1\)/],
    ["a\n\n{{ (1 }}", /unexpected '}' \(line 3\)/],
    ["{{ 1", /unexpected end of template/],
    ["{# x", /missing end of comment/],
    ["{% raw %} x", /missing end of raw/],
    ["{% if 1 %}\nx", /missing elif or else or endif \(line 2\)/],
    ["{% endif %}", /the statement endif is not supported/],
    ["{{ 1 if }}", /unexpected }}/],
    ["{{ 99999999999999999999 }}", /too large/],
    ["{% macro m(a=1, b) %}{% endmacro %}", /without a default/],
    ["{{ x is defined is none }}", /cannot be chained/],
  ])("%j is refused with its line", (template, message) => {
    expect(() => render(template)).toThrow(BundleError);
    expect(() => render(template)).toThrow(message);
  });
});

describe("values from JavaScript", () => {
  it("are Python's: missing properties are undefined, null is None, and other numbers are floats", () => {
    expect(
      render("{{ v }} {{ v.a is defined }} {{ v.b is none }}", { v: { a: undefined, b: null, c: 0.5, d: 2 ** 60 } }),
    ).toBe("{'b': None, 'c': 0.5, 'd': 1152921504606846976} False True");
  });
  it("that are no JSON are refused", () =>
    expect(() => render("{{ v }}", { v: Symbol("s") })).toThrow(/a symbol cannot be given/));
});
