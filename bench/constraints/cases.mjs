// The constraints that are compiled and followed: usual ones with an answer each, and ones that mean harm.
const FIELDS = Array.from({ length: 30 }, (_, i) => [`field_${i}`, field(i)]);

function field(i) {
  const kinds = [
    { type: "string" },
    { type: "integer" },
    { type: "number" },
    { type: "boolean" },
    { enum: ["red", "green", "blue"] },
    { type: "array", items: { type: "string" } },
    { type: "object", properties: { x: { type: "number" }, y: { type: "string" } }, required: ["x", "y"] },
    { anyOf: [{ type: "string" }, { type: "null" }] },
    { type: "string", minLength: 1, maxLength: 40 },
    { type: "integer", minimum: 0, maximum: 150 },
  ];
  const kind = kinds[i % kinds.length];
  return kind.type === "object" ? { ...kind, additionalProperties: false } : kind;
}

const VALUES = [
  "a short text, with a comma",
  42,
  3.25,
  true,
  "green",
  ["one", "two"],
  { x: 1, y: "z" },
  null,
  "Ada",
  7,
];
const closed = (properties) => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});
const thirty = closed(Object.fromEntries(FIELDS));
const thirtyAnswer = Object.fromEntries(FIELDS.map(([name], i) => [name, VALUES[i % VALUES.length]]));
const tree = {
  $defs: { node: closed({ value: { type: "integer" }, children: { type: "array", items: { $ref: "#/$defs/node" } } }) },
  $ref: "#/$defs/node",
};
const enumeration = closed({ city: { enum: Array.from({ length: 5000 }, (_, i) => `city number ${i * 7919}`) } });
const ARITHMETIC = `root ::= term (("+" | "-") term)*
term ::= factor (("*" | "/") factor)*
factor ::= [0-9]+ | "(" root ")"`;

// A string's body, right-recursive: the library makes masks for such states ahead. `character*` has none, and each of
// its tokens takes a walk of the vocabulary.
const BODY = '[^"\\\\\\x00-\\x1f]';
const ESCAPE = '"\\\\" (["\\\\/bfnrt] | "u" [0-9a-fA-F]{4})';
const LEAVES = `gap ::= [ \\n\\t]{0,2}
string ::= "\\"" body
body ::= "\\"" | ${BODY} body | ${ESCAPE} body
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)?
boolean ::= "true" | "false"`;
const KINDS = ["string", "number", "string", "boolean"];
const thirtyRules = Array.from({ length: 30 }, (_, i) => `"\\"field_${i}\\"" gap ":" gap ${KINDS[i % 4]}`);
const thirtyByHand = `root ::= "{" gap ${thirtyRules.join(' gap "," gap ')} gap "}"\n${LEAVES}`;
const byHandAnswer = Object.fromEntries(
  thirtyRules.map((_, i) => [`field_${i}`, ["some text here", 12, "x", true][i % 4]]),
);
const left = Array.from({ length: 40 }, (_, i) => `left_${i + 1} ::= "\\"" | ${BODY} left_${i} | ${ESCAPE} left_${i}`);
const bounded = `root ::= "\\"" left_40\nleft_0 ::= "\\""\n${left.join("\n")}`;
const repeated = `root ::= "\\"" character{0,40} "\\""\ncharacter ::= ${BODY} | ${ESCAPE}`;
const star = `root ::= "\\"" character* "\\""\ncharacter ::= ${BODY} | ${ESCAPE}`;
const TEXT = '"hello there my friend, how are you"';

const schema = (value) => ({ kind: "schema", source: JSON.stringify(value) });

export const USUAL = {
  "30 fields": { ...schema(thirty), answer: JSON.stringify(thirtyAnswer) },
  json_object: {
    ...schema({ type: "object" }),
    answer: JSON.stringify({ any: [1, { thing: "there is" }], more: true }),
  },
  "regex (a date)": { kind: "regex", source: "[0-9]{4}-[0-9]{2}-[0-9]{2}", answer: "2026-11-28" },
  "EBNF (arithmetic)": { kind: "grammar", source: ARITHMETIC, answer: "(12+3)*45-(6/7)" },
  "EBNF: 30 fields, right recursion": { kind: "grammar", source: thirtyByHand, answer: JSON.stringify(byHandAnswer) },
  "EBNF: a string as character*": { kind: "grammar", source: star, answer: TEXT },
  "EBNF: 40 characters, a rule each": { kind: "grammar", source: bounded, answer: TEXT },
  "EBNF: 40 characters, {0,40}": { kind: "grammar", source: repeated, answer: TEXT },
  "JSON Schema's maxLength: 40": { ...schema({ type: "string", maxLength: 40 }), answer: TEXT },
  "5,000 enum values": { ...schema(enumeration), answer: JSON.stringify({ city: "city number 7919000" }) },
  "recursive ($ref)": {
    ...schema(tree),
    answer: JSON.stringify({
      value: 1,
      children: [
        { value: 2, children: [] },
        { value: 3, children: [] },
      ],
    }),
  },
};

const nest = (depth) => `${'{"type":"array","items":'.repeat(depth)}{"type":"null"}${"}".repeat(depth)}`;
const wide = (count) =>
  closed(Object.fromEntries(Array.from({ length: count }, (_, i) => [`property_${i}`, { type: "string" }])));
const optional = (count) => ({ ...wide(count), required: [] });
const text = (limits) => schema({ type: "string", ...limits });

export const HOSTILE = {
  "10 MB: 150,000 properties": schema(wide(150_000)),
  "10 MB: one description": schema({ type: "string", description: "x".repeat(10_000_000) }),
  "10 MB of nonsense": { kind: "schema", source: "[".repeat(10_000_000) },
  "2,000 properties": schema(wide(2000)),
  "300 optional properties": schema(optional(300)),
  "nested 200 deep": { kind: "schema", source: nest(200) },
  "nested 10,000 deep": { kind: "schema", source: nest(10_000) },
  "pattern (a+)+b": text({ pattern: "^(a+)+b$" }),
  "pattern (a{1,500}){1,500}": text({ pattern: "^(a{1,500}){1,500}$" }),
  "pattern with a lookahead": text({ pattern: "^(?=.*[0-9])[a-z0-9]+$" }),
  "pattern with a back reference": text({ pattern: "^(a)\\1$" }),
  "pattern that is no regex": text({ pattern: "(((" }),
  "minLength 100,000": text({ minLength: 100_000 }),
  "maxLength 1,000,000,000": text({ maxLength: 1_000_000_000 }),
  "minItems 100,000": schema({ type: "array", items: { type: "null" }, minItems: 100_000 }),
  "$ref to the network": schema({ $ref: "https://example.com/schema.json" }),
  "$ref to nothing": schema({ $ref: "#/$defs/missing" }),
  "$ref to itself": schema({ $ref: "#" }),
  "anyOf of itself": schema({ $defs: { a: { anyOf: [{ $ref: "#/$defs/a" }, { type: "null" }] } }, $ref: "#/$defs/a" }),
  "endless object (no way out)": schema(closed({ next: { $ref: "#" } })),
  "minLength 5, maxLength 2": text({ minLength: 5, maxLength: 2 }),
  "minimum 5, maximum 2": schema({ type: "integer", minimum: 5, maximum: 2 }),
  "enum of nothing": schema({ enum: [] }),
  "enum against type": schema({ type: "integer", enum: ["a", "b"] }),
  false: { kind: "schema", source: "false" },
  "required but forbidden": schema({ type: "object", properties: { a: false }, required: ["a"] }),
  "not (ignored?)": schema({ not: {} }),
  "type unknown": schema({ type: "strnig" }),
  "not JSON": { kind: "schema", source: "{" },
  "EBNF with no root": { kind: "grammar", source: 'start ::= "a"' },
  "EBNF cut short": { kind: "grammar", source: 'root ::= "a' },
  "EBNF left recursion": { kind: "grammar", source: 'root ::= root "a" | "a"' },
  "EBNF of nothing but itself": { kind: "grammar", source: "root ::= root" },
  "EBNF doubly ambiguous": { kind: "grammar", source: 'root ::= root root | "a" | ""' },
};
