// What a grammar admits, a reader reads: texts are drawn from the grammar.
import { describe, expect, it } from "vitest";
import { AnswerReader, type Format, toolGrammar, withTools, writeCalls } from "../src/tools/index.js";
import { SYNTAXES } from "./tool_syntaxes.js";

type Json = Record<string, unknown>;
const PARAMETERS: Json = {
  type: "object",
  properties: {
    city: { type: "string" },
    days: { type: "integer" },
    rain: { type: "boolean" },
    unit: { type: "string", enum: ["C", "F"] },
  },
  required: ["city"],
};
const TOOLS = [
  { name: "get_weather", parameters: PARAMETERS },
  { name: "now", parameters: { type: "object", properties: {} } },
];

function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return Math.floor(((state >>> 0) / 2 ** 32) * below);
  };
}

/** A text of the format. */
function draw(format: Format, next: (below: number) => number): string {
  const pick = <T>(items: readonly T[]): T => items[next(items.length)]!;
  const several = (tags: readonly Format[], separator: string, one: boolean): string =>
    Array.from({ length: one ? 1 : 1 + next(3) }, () => draw(pick(tags), next)).join(separator);
  switch (format.type) {
    case "const_string":
      return format.value;
    case "any_text":
      return pick(["Wien", "a b", "«é»"]);
    case "json_schema":
      return JSON.stringify(value(format.json_schema as Json, next));
    case "sequence":
      return format.elements.map((element) => draw(element, next)).join("");
    case "or":
      return draw(pick(format.elements), next);
    case "tag":
      return format.begin + draw(format.content, next) + format.end;
    case "tags_with_separator":
      return several(format.tags, format.separator, format.stop_after_first);
    case "triggered_tags":
      return `${pick(["", "Well. "])}${several(format.tags, "\n", format.stop_after_first)}`;
  }
}

function value(schema: Json, next: (below: number) => number): unknown {
  if (schema.enum) return (schema.enum as unknown[])[next(2)];
  if (schema.type === "string") return ["Wien", 'q"\\\n', "</tool_call>"][next(3)];
  if (schema.type === "integer") return next(9);
  if (schema.type === "boolean") return next(2) === 1;
  const required = (schema.required ?? []) as string[];
  const chosen = Object.entries((schema.properties ?? {}) as Record<string, Json>).filter(
    ([key]) => required.includes(key) || next(2) === 1,
  );
  return Object.fromEntries(chosen.map(([key, own]) => [key, value(own, next)]));
}

function callsIn(text: string, options: ConstructorParameters<typeof AnswerReader>[0]) {
  const tools = new Map(TOOLS.map(({ name, parameters }) => [name, parameters]));
  const reader = new AnswerReader({ tools, ...options });
  const parts = [reader.push(text), reader.end()];
  const content = parts.map((part) => part.content).join("");
  const calls: { name: string; json: string }[] = [];
  for (const { name, index, arguments: json } of parts.flatMap((part) => part.calls)) {
    calls[index] ??= { name: name!, json: "" };
    calls[index].json += json;
  }
  return { content, calls: calls.map(({ name, json }) => ({ name, given: JSON.parse(json) as Json })) };
}

const TYPES: Record<string, (given: unknown) => boolean> = {
  city: (given) => typeof given === "string",
  days: Number.isInteger,
  rain: (given) => typeof given === "boolean",
  unit: (given) => given === "C" || given === "F",
};

describe.each(Object.entries(SYNTAXES))("the grammar of %s", (_, syntax) => {
  const next = random(5);
  it.each(["required", "auto", { type: "function", function: { name: "get_weather" } }] as const)(
    "is what the reader reads (%j)",
    (choice) => {
      const grammar = toolGrammar(syntax, TOOLS, choice, true);
      if (choice === "auto" && (syntax === SYNTAXES.llama || syntax === SYNTAXES.pythonic)) {
        expect(grammar).toBeUndefined();
        return;
      }
      for (let round = 0; round < 100; round++) {
        const text = draw(grammar!.format, next);
        const { content, calls } = callsIn(text, { calls: syntax });
        expect(calls.length, text).toBeGreaterThan(0);
        if (choice !== "auto") expect(content, text).toBe("");
        for (const { name, given } of calls) {
          if (typeof choice === "object") expect(name).toBe("get_weather");
          if (name === "now") expect(given).toEqual({});
          else expect(given).toHaveProperty("city");
          for (const [key, each] of Object.entries(given)) expect(TYPES[key]!(each), text).toBe(true);
        }
        if (typeof choice === "object" || syntax.separator === undefined) expect(calls).toHaveLength(1);
      }
    },
  );
  it("is what the engine writes of earlier turns", () => {
    const given = { city: 'W "ien" \\', days: 2, rain: true };
    const names = syntax.separator === undefined ? ["get_weather"] : ["get_weather", "get_weather"];
    const turn = names.map((name) => ({ function: { name, arguments: given } }));
    const { content, calls } = callsIn(writeCalls(syntax, turn), { calls: syntax });
    expect([content, calls]).toEqual(["", names.map((name) => ({ name, given }))]);
  });
});

describe("a grammar", () => {
  const { hermes, llama, mistral } = SYNTAXES;
  it("enforces nothing where there is nothing to enforce", () => {
    expect(toolGrammar(hermes, TOOLS, "none", true)).toBeUndefined();
    expect(toolGrammar(hermes, [], "auto", true)).toBeUndefined();
  });
  it("waits for a marker, and then admits calls alone", () => {
    expect(toolGrammar(hermes, [TOOLS[1]!], "auto", false)).toEqual({
      type: "structural_tag",
      format: {
        type: "triggered_tags",
        triggers: ["<tool_call>"],
        tags: [
          {
            type: "tag",
            begin: '<tool_call>\n{"name": "now", "arguments": ',
            content: { type: "json_schema", json_schema: TOOLS[1]!.parameters },
            end: "}\n</tool_call>",
          },
        ],
        at_least_one: false,
        stop_after_first: true,
      },
    });
  });
  it("knows calls without a marker by their beginning, for tools that are strict", () => {
    const format = toolGrammar(llama, [{ ...TOOLS[0]!, strict: true }], "auto", true)!.format;
    expect(format).toMatchObject({ type: "triggered_tags", triggers: ['{"name": "'], stop_after_first: true });
  });
  it("has what is around all calls once", () => {
    const format = toolGrammar(mistral, TOOLS, "required", true)!.format as Extract<Format, { type: "sequence" }>;
    expect(format.elements[0]).toEqual({ type: "const_string", value: "[TOOL_CALLS] [" });
    expect(format.elements[1]).toMatchObject({ type: "tags_with_separator", separator: ", ", at_least_one: true });
    expect(format.elements[2]).toEqual({ type: "const_string", value: "]" });
  });
});

describe("a conversation with tools", () => {
  const { hermes, phi4, pythonic } = SYNTAXES;
  const tools = TOOLS.map((tool) => ({ type: "function" as const, function: tool }));
  const turns = [
    { role: "user", content: "Weather?" },
    { role: "assistant", content: "I look.", tool_calls: [{ function: { name: "now", arguments: {} } }] },
    { role: "tool", content: "12:00" },
    { role: "tool", content: "13:00" },
    { role: "user", content: "And?" },
  ];
  it("is the template's where the template has it", () =>
    expect(withTools(turns, tools, hermes)).toEqual({ messages: turns, tools }));
  it("is written in words where the template has no calls", () => {
    const { messages, tools: none } = withTools(turns, [], { ...pythonic, turns: "engine" });
    expect(none).toBeUndefined();
    expect(messages).toEqual([
      turns[0],
      { role: "assistant", content: "I look.\n[now()]" },
      {
        role: "user",
        content: "<tool_response>\n12:00\n</tool_response>\n<tool_response>\n13:00\n</tool_response>",
      },
      turns[4],
    ]);
  });
  it("has its tools in the system message's own key, or in its words", () => {
    const [system] = withTools(turns, tools, { ...phi4, tools: "message" }).messages;
    expect(system).toEqual({ role: "system", content: "", tools: JSON.stringify(TOOLS) });
    const told = withTools([{ role: "system", content: "Be terse." }, ...turns], tools, { ...hermes, tools: "engine" });
    expect(told.tools).toBeUndefined();
    expect(told.messages[0]!.content).toMatch(
      /^Be terse\.\n\n[\s\S]*"get_weather"[\s\S]*<tool_call>\n\{"name": "function_name", "arguments": \{"arg/,
    );
    expect(told.messages.slice(1)).toEqual(turns);
  });
});
