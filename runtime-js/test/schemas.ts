// Schemas as applications send them, and some that are hard to write rightly. All are supported.

export const SCHEMAS: Record<string, unknown> = {
  person: {
    type: "object",
    properties: {
      name: { type: "string", minLength: 1, maxLength: 40 },
      age: { type: "integer", minimum: 0, maximum: 130 },
      email: { type: ["string", "null"], format: "email" },
      role: { enum: ["admin", "user", "guest"] },
      tags: { type: "array", items: { type: "string" }, minItems: 1, maxItems: 4 },
    },
    required: ["name", "age", "email", "role", "tags"],
    additionalProperties: false,
  },
  "tree (pydantic)": {
    $defs: {
      Node: {
        title: "Node",
        type: "object",
        properties: {
          value: { title: "Value", type: "integer" },
          left: { anyOf: [{ $ref: "#/$defs/Node" }, { type: "null" }], default: null },
          right: { anyOf: [{ $ref: "#/$defs/Node" }, { type: "null" }], default: null },
        },
        required: ["value"],
        additionalProperties: false,
      },
    },
    $ref: "#/$defs/Node",
  },
  "tagged union": {
    type: "object",
    properties: {
      shape: {
        oneOf: [
          {
            type: "object",
            properties: { kind: { const: "circle" }, radius: { type: "number", exclusiveMinimum: 0 } },
            required: ["kind", "radius"],
            additionalProperties: false,
          },
          {
            type: "object",
            properties: { kind: { const: "square" }, side: { type: "number", minimum: 0.5, maximum: 1.5 } },
            required: ["kind", "side"],
            additionalProperties: false,
          },
          {
            type: "object",
            properties: { kind: { const: "group" }, of: { type: "array", items: { $ref: "#/properties/shape" } } },
            required: ["kind", "of"],
            additionalProperties: false,
          },
        ],
      },
    },
    required: ["shape"],
  },
  "condition on a value": {
    type: "object",
    properties: { country: { enum: ["US", "DE"] }, zip: { type: "string" } },
    required: ["country", "zip"],
    additionalProperties: false,
    if: { properties: { country: { const: "US" } } },
    // biome-ignore lint/suspicious/noThenProperty: it's JSON Schema's
    then: { properties: { zip: { pattern: "^\\d{5}$" } } },
    else: { properties: { zip: { pattern: "^D-\\d{5}$" } } },
  },
  "all optional": {
    type: "object",
    properties: Object.fromEntries([..."abcdefg"].map((name) => [name, { type: "boolean" }])),
    additionalProperties: false,
  },
  "all optional, others too": {
    type: "object",
    properties: Object.fromEntries([..."abc"].map((name) => [name, { type: "boolean" }])),
    additionalProperties: { type: "integer" },
  },
  "optional before required": {
    type: "object",
    properties: { a: { type: "null" }, b: { type: "null" }, c: { type: "null" }, d: { type: "null" } },
    required: ["c"],
    additionalProperties: false,
  },
  "from two to three": {
    type: "object",
    properties: Object.fromEntries([..."abcdefg"].map((name) => [name, { type: "boolean" }])),
    required: ["d"],
    additionalProperties: false,
    minProperties: 2,
    maxProperties: 3,
  },
  "at most three, others too": {
    type: "object",
    properties: { a: { type: "null" }, b: { type: "null" } },
    additionalProperties: { type: "boolean" },
    minProperties: 1,
    maxProperties: 3,
  },
  "patterns of names": {
    type: "object",
    properties: { "x-id": { type: "integer" } },
    patternProperties: { "^x-": { type: ["integer", "string"] }, "-n$": { type: "integer" } },
    additionalProperties: { type: "boolean" },
  },
  "names listed": {
    type: "object",
    propertyNames: { enum: ["red", "green", "blue"] },
    additionalProperties: { type: "integer", minimum: 0, maximum: 255 },
  },
  "names by pattern": {
    type: "object",
    properties: { aa: { const: 1 }, B: { const: 2 } },
    propertyNames: { pattern: "^[a-z]+$", maxLength: 3 },
    additionalProperties: { const: 0 },
  },
  "a name within another": {
    type: "object",
    properties: { a: { const: 1 }, ab: { const: 2 }, abc: { const: 3 }, é: { const: 4 }, '"': { const: 5 } },
    additionalProperties: { const: 0 },
  },
  "a pattern and a length": { type: "string", pattern: "^(ab|c)*$", minLength: 3, maxLength: 5 },
  "two patterns": {
    type: "string",
    pattern: "\\d",
    allOf: [{ pattern: "[a-z]" }, { not: { pattern: "zz" } }],
    maxLength: 6,
  },
  "control characters": { type: "string", pattern: "^[\\u0000-\\u0023\\\\]{4}$" },
  "not these": { type: "string", not: { enum: ["", "a", "ab", "b"] }, maxLength: 3 },
  "not of these lengths": { type: "string", not: { minLength: 3, maxLength: 5 } },
  "from -20 to 1000": { type: "integer", minimum: -20, maximum: 1000 },
  "from 95 on": { type: "integer", minimum: 95 },
  "to -7": { type: "integer", exclusiveMaximum: -7 },
  "beyond doubles": { type: "integer", exclusiveMinimum: 1e20, maximum: 1e25 },
  "within -1.25 and 3.5": { type: "number", exclusiveMinimum: -1.25, exclusiveMaximum: 3.5 },
  "within 0.1 and 0.3": { type: "number", minimum: 0.1, maximum: 0.3 },
  "next to a long bound": { type: "number", exclusiveMinimum: 0.1, exclusiveMaximum: 0.30000000000000004 },
  tiny: { type: "number", exclusiveMinimum: 0, maximum: 1e-7 },
  huge: { type: "number", minimum: -1e300, maximum: 1e300 },
  "below 0": { type: "number", maximum: -0.001 },
  "no 5": { type: "number", minimum: 4, maximum: 6, not: { const: 5 } },
  threes: { type: "integer", multipleOf: 3 },
  "twelves above 0": { type: "integer", multipleOf: 12, exclusiveMinimum: 0 },
  thousands: { type: "integer", multipleOf: 1000 },
  "sevens in a range": { type: "integer", multipleOf: 7, minimum: -30, maximum: 60 },
  quarters: { type: "number", multipleOf: 0.25 },
  cents: { type: "number", multipleOf: 0.01, minimum: 0 },
  "two divisors": { type: "integer", multipleOf: 4, allOf: [{ multipleOf: 6 }] },
  "a tuple": {
    type: "array",
    prefixItems: [{ type: "integer" }, { type: "string" }],
    items: { type: "null" },
    minItems: 1,
  },
  "a closed tuple": { type: "array", prefixItems: [{ const: 1 }, { const: 2 }], items: false },
  counted: { type: "array", items: { type: "integer" }, minItems: 3, maxItems: 5 },
  unique: { type: "array", items: { enum: ["a", "b", "c", 1, null] }, uniqueItems: true, minItems: 1, maxItems: 3 },
  contains: { type: "array", contains: { type: "string" }, items: { type: ["string", "integer"] }, minContains: 2 },
  anything: true,
  "an object": { type: "object" },
  untyped: { maximum: 3, maxLength: 2, maxItems: 1, maxProperties: 1 },
  dependent: {
    type: "object",
    properties: { card: { type: "integer" }, address: { type: "string" } },
    dependentRequired: { card: ["address"] },
    additionalProperties: false,
  },
  "all of": {
    allOf: [
      { type: "object", properties: { a: { type: "integer" } }, required: ["a"] },
      { properties: { a: { minimum: 3 }, b: { type: "string" } }, required: ["b"] },
    ],
  },
  "nothing unevaluated": {
    $defs: { base: { type: "object", properties: { id: { type: "integer" } }, required: ["id"] } },
    allOf: [{ $ref: "#/$defs/base" }],
    properties: { name: { type: "string" } },
    unevaluatedProperties: false,
  },
  "one of ranges": { type: "integer", oneOf: [{ maximum: 5 }, { minimum: 3 }] },
  "one of forms": {
    type: "object",
    oneOf: [{ required: ["a"] }, { required: ["b"] }],
    additionalProperties: { const: 1 },
  },
  ...Object.fromEntries(
    "date time date-time duration uuid ipv4 ipv6 hostname email uri"
      .split(" ")
      .map((format) => [`the format ${format}`, { type: "string", format }]),
  ),
  "a date in an object, within a length": {
    type: "object",
    properties: { at: { type: "string", format: "date", maxLength: 10, pattern: "^20" } },
    required: ["at"],
    additionalProperties: false,
  },
};
