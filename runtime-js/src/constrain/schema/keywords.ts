// Reads the keywords that say something of one type alone into a form of each type that the schema leaves.

import { regexNode } from "../syntax/regex.js";
import { FORMATS } from "./formats.js";
import {
  ANY_ARRAY,
  ANY_NUMBER,
  ANY_OBJECT,
  ANY_STRING,
  ANYTHING,
  type ArrayForm,
  type Form,
  type NumberForm,
  type ObjectForm,
  type StringForm,
  valueForm,
} from "./forms.js";
import { isObject, isSchema, type Json, type JsonObject, type Schema } from "./read.js";
import { type Scope, words } from "./scope.js";

const TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"];
/** What makes it depend on the value which schemas say something of it. */
const CONDITIONAL = ["anyOf", "oneOf", "if", "dependentSchemas", "dependencies", "contains"];
const TYPED = words(
  "type minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern format items " +
    "prefixItems unevaluatedItems contains minItems maxItems uniqueItems properties patternProperties " +
    "additionalProperties unevaluatedProperties propertyNames required minProperties maxProperties",
);
const REFUSED = ["$dynamicRef", "$recursiveRef"];

export class Keywords {
  constructor(
    private readonly scope: Scope,
    private readonly schema: JsonObject,
  ) {}

  forms(): readonly Form[] {
    for (const keyword of REFUSED) if (this.schema.has(keyword)) throw this.fail(keyword, "is not supported.");
    if (![...this.schema.keys()].some((keyword) => TYPED.has(keyword))) return ANYTHING;
    const types = this.types();
    const has = (type: string) => types.includes(type);
    const forms: Form[] = [];
    if (has("null")) forms.push(valueForm(null));
    if (has("boolean")) forms.push(valueForm(false), valueForm(true));
    if (has("number") || has("integer")) forms.push(...this.numbers(!has("number")));
    if (has("string")) forms.push(this.strings());
    if (has("array")) forms.push(this.arrays());
    if (has("object")) forms.push(this.objects());
    return forms.filter((form) => !("min" in form) || form.min <= form.max);
  }

  fail(keyword: string, why: string): Error {
    return this.scope.refusal(this.schema, keyword, why);
  }

  /** The values of `enum` and `const`, where the schema has one. */
  values(): Json[] | undefined {
    const values = this.schema.get("enum");
    if (values !== undefined && !Array.isArray(values)) throw this.fail("enum", "must be a list.");
    const only = this.schema.get("const");
    if (only === undefined) return values as Json[] | undefined;
    return values ? [only, ...values].filter((value) => this.isIn(value, [only]) && this.isIn(value, values)) : [only];
  }

  private isIn(value: Json, list: readonly Json[]): boolean {
    return list.some((item) => valueForm(item).id === valueForm(value).id);
  }

  list(keyword: string): Schema[] {
    const value = this.schema.get(keyword);
    if (value === undefined) return [];
    if (!Array.isArray(value) || !value.every(isSchema)) throw this.fail(keyword, "must be a list of schemas.");
    return value;
  }

  map(keyword: string): Map<string, Schema> {
    const value = this.schema.get(keyword) ?? new Map<string, Json>();
    if (!isObject(value)) throw this.fail(keyword, "must be an object.");
    return value as Map<string, Schema>; // the scope has looked at its schemas
  }

  names(keyword: string, value = this.schema.get(keyword) ?? []): string[] {
    if (!Array.isArray(value) || !value.every((name) => typeof name === "string"))
      throw this.fail(keyword, "must be a list of strings.");
    return [...new Set(value as string[])];
  }

  private types(): string[] {
    const value = this.schema.get("type");
    if (value === undefined) return TYPES;
    const list = Array.isArray(value) ? value : [value];
    for (const type of list)
      if (typeof type !== "string" || !TYPES.includes(type))
        throw this.fail("type", `must be one of ${TYPES.join(", ")}, or a list of them.`);
    return list as string[];
  }

  private number(keyword: string): number | undefined {
    const value = this.schema.get(keyword);
    if (value !== undefined && typeof value !== "number") throw this.fail(keyword, "must be a number.");
    return value;
  }

  private count(keyword: string, otherwise: number): number {
    const value = this.number(keyword) ?? otherwise;
    if (value !== Infinity && !(Number.isInteger(value) && value >= 0))
      throw this.fail(keyword, "must be an integer of at least 0.");
    return value;
  }

  private numbers(integer: boolean): NumberForm[] {
    const minimum = this.number("minimum") ?? -Infinity;
    const above = this.number("exclusiveMinimum") ?? -Infinity;
    const maximum = this.number("maximum") ?? Infinity;
    const below = this.number("exclusiveMaximum") ?? Infinity;
    const divisor = this.number("multipleOf");
    if (divisor !== undefined && divisor <= 0) throw this.fail("multipleOf", "must be more than 0.");
    const form = {
      ...ANY_NUMBER,
      integer,
      low: Math.max(minimum, above),
      lowOpen: above >= minimum && above > -Infinity,
      high: Math.min(maximum, below),
      highOpen: below <= maximum && below < Infinity,
      divisors: divisor === undefined ? [] : [divisor],
    };
    return form.low > form.high || (form.low === form.high && (form.lowOpen || form.highOpen)) ? [] : [form];
  }

  private strings(): StringForm {
    const one = (keyword: string): string[] => {
      const value = this.schema.get(keyword);
      if (value !== undefined && typeof value !== "string") throw this.fail(keyword, "must be a string.");
      return value === undefined ? [] : [value];
    };
    const formats = one("format");
    for (const format of formats)
      if (!FORMATS.has(format))
        throw this.fail(
          "format",
          `${JSON.stringify(format.slice(0, 80))} is not supported: ${[...FORMATS.keys()]} are.`,
        );
    return {
      ...ANY_STRING,
      min: this.count("minLength", 0),
      max: this.count("maxLength", Infinity),
      patterns: one("pattern").map((pattern) => this.expression("pattern", pattern)),
      formats,
    };
  }

  private expression(keyword: string, pattern: string): string {
    regexNode(pattern, `${this.scope.path(this.schema)}.${keyword}`, { anchored: false }); // it throws by name
    return pattern;
  }

  private arrays(): ArrayForm {
    const { schema } = this;
    const items = schema.get("items");
    const asList = Array.isArray(items);
    const prefix = [...this.list(asList ? "items" : "prefixItems")];
    const rest = asList ? schema.get("additionalItems") : items;
    const seen = rest === undefined ? this.unevaluated("unevaluatedItems", ["items"]) : undefined;
    const lengths = (seen?.others ?? []).map(
      (other) => (other.get("prefixItems") as Schema[] | undefined)?.length ?? 0,
    );
    while (prefix.length < Math.max(0, ...lengths)) prefix.push(true);
    const restSchema = rest ?? seen?.schema ?? true;
    const unique = schema.get("uniqueItems") ?? false;
    if (typeof unique !== "boolean") throw this.fail("uniqueItems", "must be true or false.");
    const contained = schema.get("contains");
    if (contained !== undefined && schema.has("maxContains")) throw this.fail("maxContains", "is not supported.");
    const least = this.count("minContains", 1);
    return {
      ...ANY_ARRAY,
      parts: prefix.length || restSchema !== true ? [{ prefix, rest: restSchema as Schema }] : [],
      min: this.count("minItems", 0),
      max: this.count("maxItems", Infinity),
      unique,
      contains: contained !== undefined && least ? [{ schema: contained as Schema, min: least }] : [],
    };
  }

  private objects(): ObjectForm {
    const { schema } = this;
    const properties = new Map(this.map("properties"));
    const patterns = new Map(this.map("patternProperties"));
    for (const pattern of patterns.keys()) this.expression("patternProperties", pattern);
    const own = schema.get("additionalProperties");
    const seen = own === undefined ? this.unevaluated("unevaluatedProperties", ["additionalProperties"]) : undefined;
    for (const other of seen?.others ?? []) {
      for (const name of keysOf(other, "properties")) if (!properties.has(name)) properties.set(name, true);
      for (const name of keysOf(other, "patternProperties")) if (!patterns.has(name)) patterns.set(name, true);
    }
    const rest = (own ?? seen?.schema ?? true) as Schema;
    const names = schema.get("propertyNames");
    const explicit = own !== undefined || schema.has("unevaluatedProperties");
    const says = properties.size || patterns.size || explicit;
    return {
      ...ANY_OBJECT,
      parts: says ? [{ properties, patterns, rest, explicit }] : [],
      required: this.names("required"),
      min: this.count("minProperties", 0),
      max: this.count("maxProperties", Infinity),
      names: names === undefined ? [] : [names as Schema],
    };
  }

  /** The keyword's schema, and the other schemas that say something of the same value. None where one of these has the
   * keyword too, or one of those that leave nothing unevaluated. */
  private unevaluated(keyword: string, complete: readonly string[]) {
    const schema = this.schema.get(keyword) ?? true;
    if (schema === true) return undefined;
    const others = new Set<JsonObject>();
    const add = (other: Schema | undefined) => {
      if (!isObject(other) || others.has(other)) return;
      const tuple = keyword === "unevaluatedItems" && Array.isArray(other.get("items"));
      if (tuple || CONDITIONAL.some((name) => other.has(name)))
        throw this.fail(keyword, "is supported only beside properties, items, allOf and $ref.");
      others.add(other);
      if (other.has("$ref")) add(this.scope.target(other));
      for (const part of (other.get("allOf") ?? []) as Schema[]) add(part);
    };
    add(this.schema);
    others.delete(this.schema);
    const all = [...complete, keyword];
    return [...others].some((other) => all.some((name) => other.has(name)))
      ? undefined
      : { schema, others: [...others] };
  }
}

const keysOf = (schema: JsonObject, keyword: string): string[] => {
  const value = schema.get(keyword);
  return isObject(value) ? [...value.keys()] : [];
};
