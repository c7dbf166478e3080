import { describe, expect, it } from "vitest";
import { Automaton, accepts } from "../src/constrain/automaton.js";
import { compileGrammar } from "../src/constrain/program.js";
import { schemaGrammar } from "../src/constrain/schema/index.js";

const takes = (schema: unknown, text: string, closed = true): boolean =>
  accepts(new Automaton(compileGrammar(schemaGrammar(schema, { closed }))), new TextEncoder().encode(text));
const a = { properties: { a: { type: "integer" } }, type: "object" };

describe("closing objects", () => {
  it.each([
    ["at the top", a, '{"a": 1}', '{"a": 1, "b": 2}'],
    ["in items", { type: "array", items: a }, '[{"a": 1}]', '[{"b": 2}]'],
    ["in properties", { ...a, properties: { a } }, '{"a": {"a": 1}}', '{"a": {"b": 1}}'],
    ["in anyOf", { anyOf: [a, { type: "null" }] }, '{"a": 1}', '{"b": 2}'],
    ["by reference", { $ref: "#/$defs/a", $defs: { a } }, '{"a": 1}', '{"b": 2}'],
  ])("%s", (_, schema, good, open) => {
    expect([takes(schema, good), takes(schema, open), takes(schema, open, false)]).toEqual([true, false, true]);
  });

  it.each([
    ["which say that they are open", { ...a, additionalProperties: true }, '{"a": 1, "b": 2}'],
    ["of which allOf says more", { allOf: [a, { properties: { b: { type: "integer" } } }] }, '{"a": 1, "b": 2}'],
    [
      "of which a choice says more",
      { ...a, anyOf: [{ properties: { b: { type: "integer" } }, required: ["b"] }, false] },
      '{"a": 1, "b": 2}',
    ],
    ["that have only what they must have", { type: "object", required: ["b"] }, '{"b": 2}'],
  ])("but not those %s", (_, schema, good) => {
    expect(takes(schema, good)).toBe(true);
  });
});
