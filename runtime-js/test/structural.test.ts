import { describe, expect, it } from "vitest";
import { Automaton, accepts } from "../src/constrain/automaton.js";
import { choice, type Grammar, rule, text } from "../src/constrain/grammar.js";
import { compileGrammar } from "../src/constrain/program.js";
import { schemaGrammar } from "../src/constrain/schema/index.js";
import { structuralGrammar } from "../src/constrain/syntax/structural.js";
import { InvalidRequestError } from "../src/errors.js";

const FIELD = "response_format.structural_tag";

/** The JSON of an enum's values. Each grammar has a rule of the same name. */
function enumGrammar(schema: unknown): Grammar {
  const values = (schema as { enum: unknown[] }).enum.map((value) => text(JSON.stringify(value)));
  return { start: rule("value"), rules: new Map([["value", choice(...values)]]) };
}

function check(tag: unknown, good: readonly string[], bad: readonly string[]): void {
  const automaton = new Automaton(compileGrammar(structuralGrammar(tag, FIELD, enumGrammar)));
  const matches = (value: string): boolean => accepts(automaton, new TextEncoder().encode(value));
  for (const value of good) expect(matches(value), JSON.stringify(value)).toBe(true);
  for (const value of bad) expect(matches(value), JSON.stringify(value)).toBe(false);
}

const json = (...values: unknown[]) => ({ type: "json_schema", json_schema: { enum: values } });
const TAGS = [
  { type: "tag", begin: "<f=one>", content: json(1, { a: 1 }), end: "</f>" },
  { begin: "<f=two>", content: json(2), end: ["</f>", "<|end|>"] },
];
const CALLS = { type: "triggered_tags", triggers: ["<f="], tags: TAGS };
const ONE = "<f=one>1</f>",
  TWO = "<f=two>2</f>";

describe("structuralGrammar", () => {
  it("leaves text free up to a trigger, and holds what follows to the tags", () => {
    check(
      { type: "structural_tag", format: CALLS },
      ["", "free <f text é", ONE, `say ${ONE} and ${TWO}, done`, ONE + ONE, '<f=one>{"a":1}</f>', "<f=two>2<|end|>"],
      ["<f=", "<f=three>1</f>", "<f=one>2</f>", "<f=two>1</f>", "a <f=one>1", `${ONE}<f=one>`, "<f=one>1<|end|>"],
    );
  });

  it("demands a call, and stops after the first", () => {
    check({ format: { ...CALLS, at_least_one: true } }, [ONE, `${ONE} text ${TWO}.`], ["", "text", `text ${ONE}`]);
    check({ format: { ...CALLS, stop_after_first: true } }, ["", "text", `text ${ONE}`], [`${ONE}.`, ONE + TWO, "<f="]);
    check({ format: { ...CALLS, at_least_one: true, stop_after_first: true } }, [ONE, TWO], ["", `a${ONE}`, `${ONE}a`]);
    check({ format: { ...CALLS, excludes: ["no"] } }, [`n ${ONE} o`], ["no", `${ONE}no`]);
  });

  it("takes tags with a separator, and nothing else", () => {
    const format = { type: "tags_with_separator", tags: TAGS, separator: ", " };
    check({ format }, ["", ONE, `${ONE}, ${TWO}, ${ONE}`], [`${ONE}${TWO}`, `${ONE}, `, "text", `${ONE} `]);
    check({ format: { ...format, at_least_one: true } }, [ONE, `${TWO}, ${TWO}`], [""]);
    check({ format: { ...format, stop_after_first: true } }, ["", TWO], [`${ONE}, ${TWO}`]);
    check({ format: { ...format, stop_after_first: true, at_least_one: true } }, [TWO], ["", `${ONE}, ${TWO}`]);
    check({ format: { ...format, separator: "" } }, [ONE + TWO, ""], [`${ONE}, ${TWO}`]);
  });

  it("ends free text in a tag at the tag's end", () => {
    const think = { type: "tag", begin: "<think>", content: { type: "any_text" }, end: "</think>" };
    const format = { type: "sequence", elements: [think, CALLS] };
    check({ format }, ["<think></think>", `<think>I <f= </thin</think>so ${ONE}`], ["", "<think>", `${ONE}`]);
    const only = { format: { type: "sequence", elements: [think, { type: "const_string", value: "!" }] } };
    check(only, ["<think>a</think>!"], ["<think>a</think>b</think>!", "<think>a</think>"]);
    const inside = { type: "tag", begin: "<t>", content: CALLS, end: ["</t>", "</u>"] };
    check(inside, [`<t>a ${ONE} b</t>`, "<t></u>"], ["<t>a</t>b</t>", "<t>a</u>b</t>", `<t>${ONE}`]);
    check({ type: "tag", begin: "<a>", content: { type: "any_text" }, end: "" }, ["<a>", "<a>b<a>"], ["b"]);
  });

  it("takes grammars, regular expressions and what is made of them", () => {
    const grammar = { type: "grammar", grammar: 'root ::= value\nvalue ::= "(" value? ")"' };
    const regex = { type: "regex", pattern: "[a-z]+|^\\d$" };
    const elements = [grammar, regex, json("x"), json("y")];
    check({ format: { type: "sequence", elements } }, ['(())ab"x""y"', '()1"x""y"'], ['()12"x""y"', '()a"x""x"']);
    check({ format: { type: "or", elements } }, ["((()))", "abc", '"x"'], ["(", "1a", '"x""y"']);
    check({ type: "plus", content: grammar }, ["()", "()(())()"], ["", "()("]);
    check({ type: "plus", content: json(1) }, ["1", "111"], ["", "2"]);
    check({ type: "star", content: { type: "optional", content: json(1) } }, ["", "111"], ["2"]);
    check({ type: "any_text" }, ["", "any\né😀"], []);
    check({ type: "any_text", excludes: ["a", "bc"] }, ["bbd"], ["xa", "bbc"]);
  });

  it("takes the older form, and JSON", () => {
    const structures = [{ begin: "<f=one>", schema: '{"enum": [1]}', end: "</f>" }];
    const older = { structures, triggers: ["<f="] };
    for (const tag of [older, { type: "structural_tag", ...older }, JSON.stringify(older)])
      check(tag, ["", `a ${ONE} b ${ONE}`], ["<f=two>", "<f=one>2</f>"]);
  });

  it.each<[unknown, string]>([
    [null, `${FIELD}: must be an object`],
    ["{", "is not JSON"],
    [{}, "structural_tag.type: undefined is not supported; there are const_string"],
    [{ format: { type: "qwen_xml_parameter", json_schema: {} } }, 'format.type: "qwen_xml_parameter" is not supported'],
    [{ format: { type: "constructor" } }, '"constructor" is not supported'],
    [{ format: CALLS, other: 1 }, "structural_tag.other: is not a known parameter"],
    [{ format: { ...CALLS, loop: true } }, "format.loop: is not a known parameter"],
    [{ format: { type: "any_text", max_tokens: 5 } }, "format.max_tokens: is not a known parameter"],
    [{ format: { ...CALLS, triggers: ["<g="] } }, "format.tags[0].begin: must begin with one of the triggers"],
    [{ format: { ...CALLS, triggers: [] } }, "format.triggers: must be a list of at least one"],
    [{ format: { ...CALLS, triggers: [""] } }, "format.triggers[0]: must not be empty"],
    [{ format: { ...CALLS, tags: [] } }, "format.tags: must be a list of at least one"],
    [{ format: { ...CALLS, at_least_one: 1 } }, "format.at_least_one: must be true or false"],
    [{ format: { ...CALLS, tags: [json(1)] } }, "format.tags[0].type: must be tag"],
    [{ format: { type: "tag", begin: { type: "token", token: 1 }, content: json(1), end: "" } }, "tokens"],
    [{ format: { type: "tag", begin: "a", content: json(1) } }, "format.end: must be a string"],
    [
      { format: { type: "or", elements: [json(1), { type: "regex", pattern: "(" }] } },
      "elements[1].pattern: at character",
    ],
    [{ format: { type: "grammar", grammar: "root ::= root" } }, "format.grammar: the rule root"],
    [{ format: { type: "repeat", content: json(1), min: 2, max: 1 } }, '"repeat" is not supported'],
    [{ format: { ...json(1), style: "qwen_xml" } }, "format.style: is not a known parameter"],
    [{ format: { ...json(1), any_order: true } }, "format.any_order: is not a known parameter"],
    [{ structures: [{ begin: "a", schema: "{", end: "b" }], triggers: ["a"] }, "structures[0].schema: is not JSON"],
    [{ structures: [{ begin: "a", schema: { enum: [1] }, end: "b" }] }, "triggers: must be a list"],
    [
      { format: Array.from({ length: 200 }).reduce<unknown>((content) => ({ type: "star", content }), CALLS) },
      "nested",
    ],
  ])("refuses case %#", (tag, message) => {
    expect(() => structuralGrammar(tag, FIELD, enumGrammar)).toThrow(InvalidRequestError);
    expect(() => structuralGrammar(tag, FIELD, enumGrammar)).toThrow(message);
  });

  it("keeps apart the rules of schemas that call themselves", () => {
    const nested = (type: string) => ({
      type: "object",
      properties: { v: { type }, next: { $ref: "#" } },
      required: ["v"],
      additionalProperties: false,
    });
    const tags = ["integer", "boolean"].map((type) => ({
      begin: `<${type}>`,
      content: { type: "json_schema", json_schema: nested(type) },
      end: "</>",
    }));
    const tag = { type: "triggered_tags", triggers: ["<integer", "<boolean"], tags };
    const grammar = structuralGrammar(tag, FIELD, (schema, field) => schemaGrammar(schema, { path: field }));
    const automaton = new Automaton(compileGrammar(grammar));
    const matches = (value: string): boolean => accepts(automaton, new TextEncoder().encode(value));
    expect(matches('a <integer>{"v": 1, "next": {"v": 2}}</> b <boolean>{"v": true, "next": {"v": false}}</>')).toBe(
      true,
    );
    expect(matches('<integer>{"v": 1, "next": {"v": true}}</>')).toBe(false);
    expect(matches('<boolean>{"v": true, "next": {"v": 2}}</>')).toBe(false);
  });

  it("takes five thousand tools", () => {
    const tags = Array.from({ length: 5000 }, (_, i) => ({ begin: `<f=tool${i}>`, content: json(i), end: "</f>" }));
    check({ ...CALLS, tags }, ["text <f=tool4999>4999</f> text <f=tool0>0</f>"], ["<f=tool4999>4998</f>"]);
  });
});
