// What a schema's grammar accepts and what is refused by name. The official suite and random texts are tested apart.
import { describe, expect, it } from "vitest";
import { Automaton, accepts } from "../src/constrain/automaton.js";
import { compileGrammar } from "../src/constrain/program.js";
import { type SchemaOptions, schemaGrammar } from "../src/constrain/schema/index.js";
import { InvalidRequestError } from "../src/errors.js";

const encoder = new TextEncoder();

function acceptor(schema: unknown, options?: SchemaOptions): (text: string) => boolean {
  const automaton = new Automaton(compileGrammar(schemaGrammar(schema, options)));
  return (text) => accepts(automaton, encoder.encode(text));
}

function refusal(schema: unknown): string {
  try {
    schemaGrammar(schema, { path: "s" });
  } catch (error) {
    if (error instanceof InvalidRequestError) return error.message;
    throw error;
  }
  return "";
}

describe("a schema's texts", () => {
  it("have the separators that are asked for", () => {
    const schema = { type: "object", properties: { a: { const: [1, { b: 2 }] }, c: {} }, required: ["a", "c"] };
    expect(acceptor(schema)('{"a": [1, {"b": 2}], "c": null}')).toBe(true);
    expect(acceptor(schema, { separators: [",", ":"] })('{"a":[1,{"b":2}],"c":null}')).toBe(true);
    expect(acceptor(schema, { separators: [",", ":"] })('{"a": [1, {"b": 2}], "c": null}')).toBe(false);
  });

  it("have properties in the schema's order, none of them twice", () => {
    const accepted = acceptor({
      properties: { b: { type: "integer" }, a: { type: "integer" } },
      required: ["b"],
      additionalProperties: false,
      type: "object",
    });
    expect(['{"b": 1}', '{"b": 1, "a": 2}'].map(accepted)).toEqual([true, true]);
    expect(['{"a": 2, "b": 1}', '{"b": 1, "b": 1}', '{"a": 2}', "{}", '{"b": 1, }'].some(accepted)).toBe(false);
  });

  it("write each character in one way, and lengths count characters", () => {
    const one = acceptor({ type: "string", minLength: 1, maxLength: 1 });
    expect(['"é"', '"😀"', '"\\n"', '"\\""', '"\\\\"', '"\\u001f"', '"\u2028"'].every(one)).toBe(true);
    expect(['"\n"', '"\\u00e9"', '"\\ud83d\\ude00"', '"ab"', '""', '"\\x"', '"""'].some(one)).toBe(false);
  });

  it("never give a declared name to another property, however it is written", () => {
    const accepted = acceptor({ properties: { 'a"': { const: 1 }, "a\n": { const: 2 }, é: { const: 3 } } });
    expect(['{"a\\"": 1}', '{"a\\n": 2}', '{"é": 3}', '{"a": 0, "a\\"b": 0, "\\u000b": 0}'].every(accepted)).toBe(true);
    expect(['{"a\\"": 0}', '{"a\\n": 0}', '{"a\\u000a": 0}', '{"é": 0}'].some(accepted)).toBe(false);
  });

  it("end, however deep a schema leads back to itself", () => {
    const list = acceptor({ type: "object", properties: { next: { $ref: "#" } }, additionalProperties: false });
    expect(list('{"next": {"next": {"next": {}}}}')).toBe(true);
    expect(list('{"next": null}')).toBe(false);
  });

  it("never begin what cannot end: an optional property that needs itself is left out", () => {
    const schema = {
      $defs: { endless: { type: "object", properties: { a: { $ref: "#/$defs/endless" } }, required: ["a"] } },
      type: "object",
      properties: { ok: { type: "null" }, no: { $ref: "#/$defs/endless" } },
      additionalProperties: false,
    };
    expect(JSON.stringify([...schemaGrammar(schema).rules.values()])).not.toContain('"no\\"');
    expect(acceptor(schema)('{"ok": null}')).toBe(true);
  });

  it("take __proto__ for a name like any other", () => {
    const schema = '{"properties": {"__proto__": {"type": "integer"}}, "type": "object", "required": ["__proto__"]}';
    expect(acceptor(JSON.parse(schema))('{"__proto__": 1}')).toBe(true);
    expect(acceptor(JSON.parse(schema))('{"__proto__": "1"}')).toBe(false);
    expect(acceptor(JSON.parse(schema))("{}")).toBe(false);
  });
});

describe("numbers of a range", () => {
  const BOUNDS = [-112, -20, -12.5, -1, -0.05, 0, 0.1, 0.25, 1, 3, 9.99, 10, 95, 100.5];
  const within = (value: number, low: number, high: number, open: number) =>
    value >= low && value <= high && !(open & 1 && value === low) && !(open & 2 && value === high);
  const range = (low: number, high: number, open: number) => ({
    [open & 1 ? "exclusiveMinimum" : "minimum"]: low,
    [open & 2 ? "exclusiveMaximum" : "maximum"]: high,
  });
  const pairs = BOUNDS.flatMap((low, i) => BOUNDS.slice(i).map((high) => [low, high] as const));

  it("are all integers of it, and no others", () => {
    const wrong: string[] = [];
    for (const [i, [low, high]] of pairs.entries()) {
      const count = Array.from({ length: 260 }, (_, k) => k - 130).filter((k) => within(k, low, high, i % 4)).length;
      const schema = { type: "integer", ...range(low, high, i % 4) };
      if (count === 0) {
        if (!refusal(schema).includes("no value is valid")) wrong.push(JSON.stringify(schema));
        continue;
      }
      const accepted = acceptor(schema);
      for (let k = -1300; k <= 1300; k++)
        if (accepted(String(k)) !== within(k, low, high, i % 4)) wrong.push(`${JSON.stringify(schema)}: ${k}`);
      if (["-0", "00", "01", "1.0", "1e1", "", "-"].some(accepted)) wrong.push(JSON.stringify(schema));
    }
    expect(wrong).toEqual([]);
  });

  it("are all decimals of it, and no others", () => {
    const wrong: string[] = [];
    for (const [i, [low, high]] of pairs.entries()) {
      if (i % 3 || (low === high && i % 4)) continue;
      const accepted = acceptor({ type: "number", ...range(low, high, i % 4) });
      for (let k = -12600; k <= 10100; k += k > -1300 && k < 1100 ? 1 : 37)
        for (const text of [String(k / 100), (k / 100).toFixed(2), (k / 100).toFixed(3)]) {
          if (Object.is(Number(text), -0)) continue;
          if (accepted(text) !== within(k / 100, low, high, i % 4)) wrong.push(`${low} ${high} ${i % 4}: ${text}`);
        }
      if (["00", "01", "1.", ".5", "1e1", "", "-"].some(accepted)) wrong.push(`${low} ${high}`);
    }
    expect(wrong.slice(0, 20)).toEqual([]);
  });

  it("are exact multiples of a hundredth, as far as doubles tell them apart", () => {
    const cents = acceptor({ type: "number", multipleOf: 0.01 });
    expect(["0.07", "-1.1", "9071647883842.70", "3"].every(cents)).toBe(true);
    expect(["0.001", "1.234", "90716478838420000.70"].some(cents)).toBe(false);
  });

  it("never round to a bound that is left out", () => {
    const below = acceptor({ type: "number", exclusiveMaximum: 1 });
    expect(below("0.99999999999999")).toBe(true);
    expect(below("0.99999999999999999999")).toBe(false);
    const above = acceptor({ type: "integer", exclusiveMinimum: 1e20 });
    expect(above("100000000000000000001")).toBe(false);
    expect(above("100000000000000100000")).toBe(true);
  });

  it.each([3, 7, 12, 0.25, 0.1, 100, 60])("are all multiples of %d, and no others", (divisor) => {
    const accepted = acceptor({ type: "number", multipleOf: divisor });
    const wrong: string[] = [];
    for (let k = -1300; k <= 1300; k++) {
      const value = k / (divisor < 1 ? 100 : 1);
      const scaled = Math.round(value * 100) % Math.round(divisor * 100) === 0;
      if (k !== 0 && accepted(String(value)) !== scaled) wrong.push(String(value));
    }
    expect(wrong).toEqual([]);
    expect(["0", "-0", "00", "0.0001"].map(accepted)[0]).toBe(true);
  });
});

describe("a schema that is refused", () => {
  it.each(
    [
      [{ properties: { a: { not: { type: "integer" } } } }, "s.properties.a.not: "],
      [{ type: "string", format: "regex" }, "s.format: "],
      [{ type: "string", pattern: "(?=a)" }, "s.pattern: "],
      [{ patternProperties: { "(": true } }, "s.patternProperties: "],
      [{ items: { uniqueItems: true } }, "s.items.uniqueItems: "],
      [{ minProperties: 2 }, "s.minProperties: "],
      [{ contains: true, maxContains: 1 }, "s.maxContains: "],
      [{ $ref: "https://example.com/schema" }, "s.$ref: "],
      [{ $ref: "#/$defs/a" }, "s.$ref: "],
      [{ $dynamicRef: "#a" }, "s.$dynamicRef: "],
      [{ $schema: "https://example.com/own" }, "s.$schema: "],
      [{ multipleOf: 101 }, "s.multipleOf: "],
      [{ enum: [["12:00:60+12:01"]], not: { items: { format: "time" } } }, "s.not: "],
      [{ type: "int" }, "s.type: "],
      [{ allOf: [{ type: ["string", "strnig"] }] }, "s.allOf[0].type: "],
      [{ enum: "a" }, "s.enum: "],
      [{ minimum: "3" }, "s.minimum: "],
      [{ maxLength: -1 }, "s.maxLength: "],
      [{ required: "a" }, "s.required: "],
      [{ properties: { a: 3 } }, "s.properties.a: "],
      [{ anyOf: {} }, "s.anyOf: "],
      [{ multipleOf: 0 }, "s.multipleOf: "],
      [{ anyOf: [{ type: "string" }, { $ref: "#" }] }, "s.anyOf: leads back to itself"],
      [3, "s: must be a schema"],
      [undefined, "s: is not JSON"],
      [{ const: 3n }, "s.const: is not JSON"],
      [{ minimum: Number.NaN }, "s.minimum: is not JSON"],
      [{ default: () => 1 }, "s.default: is not JSON"],
      [
        {
          get type() {
            throw new Error("no");
          },
        },
        "s: cannot be read: no",
      ],
    ].map(([schema, start]) => ({ schema, start: String(start) })),
  )("names the keyword and its place: $start", ({ schema, start }) => {
    expect(refusal(schema).slice(0, start.length)).toBe(start);
  });

  it.each([
    false,
    { enum: [] },
    { type: "string", minLength: 5, maxLength: 2 },
    { type: "integer", minimum: 0.2, maximum: 0.8 },
    { type: "object", properties: { a: false }, required: ["a"] },
    { type: "object", required: ["a"], additionalProperties: false },
    { type: "array", items: { $ref: "#" }, minItems: 1 },
    { allOf: [{ const: 1 }, { const: 2 }] },
    { type: "string", enum: [1, 2] },
    { type: "object", maxProperties: 1, required: ["a", "b"] },
    { type: "string", pattern: "^a", allOf: [{ pattern: "^b" }] },
  ])("says that no value is valid: %j", (schema) => {
    expect(refusal(schema)).toBe("s: no value is valid against this schema.");
  });
});

describe("a hostile schema", () => {
  const deep = (depth: number, within: (schema: object) => object) => {
    let schema: object = { type: "string" };
    for (let i = 0; i < depth; i++) schema = within(schema);
    return schema;
  };
  const many = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i));
  const named = (count: number) => Object.fromEntries(many(count, (i) => [`property${i}`, { type: "string" }]));
  const links = (count: number, link: (i: number) => object) =>
    Object.fromEntries(many(count, (i) => [`d${i}`, i + 1 === count ? { type: "null" } : link(i)]));
  const cyclic: Record<string, unknown> = { type: "object" };
  cyclic.properties = { self: cyclic };
  const patterns = many(8, (i) => ({ pattern: `a.{${i}}b` }));

  const HOSTILE: Record<string, unknown> = {
    "10,000 deep": deep(10_000, (a) => ({ properties: { a } })),
    "exponential sharing": deep(40, (a) => ({ properties: { a, b: a } })),
    "exponential anyOf": { allOf: many(30, (i) => ({ anyOf: [{ required: [`a${i}`] }, { required: [`b${i}`] }] })) },
    "exponential patterns": { type: "string", allOf: patterns },
    "a cycle": cyclic,
    "150,000 properties": { type: "object", properties: named(150_000), additionalProperties: false },
    "20,000 required names": { type: "object", required: many(20_000, (i) => `r${i}`) },
    "300,000 branches": { anyOf: many(300_000, (title) => ({ type: "string", title })) },
    "10,000 references in a row": { $ref: "#/$defs/d0", $defs: links(10_000, (i) => ({ $ref: `#/$defs/d${i + 1}` })) },
    "5,000 objects in oneOf": { oneOf: many(5000, (i) => ({ properties: { k: { const: i } }, required: ["k"] })) },
    "a long name": { properties: { ["k".repeat(100_000)]: true } },
  };
  it.each(Object.entries(HOSTILE))("is refused soon: %s", (_, schema) => {
    const start = performance.now();
    expect(refusal(schema)).toMatch(/^s/);
    expect(performance.now() - start).toBeLessThan(5000); // under a second on an idle machine
  });

  it("works where it is only large", () => {
    expect(acceptor({ enum: many(5000, (i) => `value ${i}`) })('"value 4999"')).toBe(true);
    expect(acceptor({ oneOf: many(5000, (i) => ({ const: i })) })("4999")).toBe(true);
    expect(acceptor({ type: "null", description: "x".repeat(10_000_000) })("null")).toBe(true);
    expect(acceptor({ properties: named(1000), additionalProperties: false })('{"property999": "x"}')).toBe(true);
    expect(acceptor({ type: "array", items: { type: "null" }, minItems: 1e9 })("[null]")).toBe(false);
    const twice = links(100, (i) => ({ allOf: [{ $ref: `#/$defs/d${i + 1}` }, { $ref: `#/$defs/d${i + 1}` }] }));
    expect(acceptor({ $ref: "#/$defs/d0", $defs: twice })("null")).toBe(true);
    const arrays = links(10_000, (i) => ({ type: "array", items: { $ref: `#/$defs/d${i + 1}` } }));
    expect(acceptor({ $ref: "#/$defs/d0", $defs: arrays })("[[[]]]")).toBe(true);
  });
});
