// What values a schema leaves: a union of forms, each of one type or of one value; and what two forms have in common.
import { identity, isObject, type Json, type Schema } from "./read.js";

export interface ValueForm {
  readonly type: "value";
  readonly value: Json;
  readonly id: string;
}
export interface NumberForm {
  readonly type: "number";
  readonly integer: boolean;
  readonly low: number;
  /** The bound itself is left out. */
  readonly lowOpen: boolean;
  readonly high: number;
  readonly highOpen: boolean;
  readonly divisors: readonly number[];
}
export interface StringForm {
  readonly type: "string";
  readonly min: number;
  readonly max: number;
  readonly patterns: readonly string[];
  /** Patterns that must not match. */
  readonly unlike: readonly string[];
  readonly formats: readonly string[];
  readonly except: readonly string[];
}
export interface Items {
  readonly prefix: readonly Schema[];
  readonly rest: Schema;
}
export interface Contained {
  readonly schema: Schema;
  readonly min: number;
}
export interface ArrayForm {
  readonly type: "array";
  /** One for each schema that says something of items. */
  readonly parts: readonly Items[];
  readonly min: number;
  readonly max: number;
  readonly unique: boolean;
  readonly contains: readonly Contained[];
}
export interface Members {
  readonly properties: ReadonlyMap<string, Schema>;
  readonly patterns: ReadonlyMap<string, Schema>;
  readonly rest: Schema;
  /** The schema itself says what others there may be. */
  readonly explicit: boolean;
}
export interface ObjectForm {
  readonly type: "object";
  /** One for each schema that says something of properties. */
  readonly parts: readonly Members[];
  readonly required: readonly string[];
  readonly min: number;
  readonly max: number;
  readonly names: readonly Schema[];
}
export type Form = ValueForm | NumberForm | StringForm | ArrayForm | ObjectForm;

export const ANY_NUMBER: NumberForm = {
  type: "number",
  integer: false,
  low: -Infinity,
  lowOpen: false,
  high: Infinity,
  highOpen: false,
  divisors: [],
};
export const ANY_STRING: StringForm = {
  type: "string",
  min: 0,
  max: Infinity,
  patterns: [],
  unlike: [],
  formats: [],
  except: [],
};
export const ANY_ARRAY: ArrayForm = { type: "array", parts: [], min: 0, max: Infinity, unique: false, contains: [] };
export const ANY_OBJECT: ObjectForm = { type: "object", parts: [], required: [], min: 0, max: Infinity, names: [] };

export const valueForm = (value: Json): ValueForm => ({ type: "value", value, id: identity(value) });
export const ANYTHING: readonly Form[] = [
  ...[null, false, true].map(valueForm),
  ANY_NUMBER,
  ANY_STRING,
  ANY_ARRAY,
  ANY_OBJECT,
];

/** null and booleans have no form but their values. */
export function typeOf(value: Json): "value" | "number" | "string" | "array" | "object" {
  if (typeof value === "number" || typeof value === "string") return typeof value as "number";
  if (Array.isArray(value)) return "array";
  return isObject(value) ? "object" : "value";
}

const both = <T>(a: readonly T[], b: readonly T[]): T[] => [...new Set([...a, ...b])];

/** What is of both forms, neither of which is a value; none where nothing is. */
export function meet(a: Form, b: Form): Form[] {
  if (a.type === "number" && b.type === "number") return meetNumbers(a, b);
  if (a.type === "string" && b.type === "string")
    return sized({
      ...range(a, b),
      type: "string",
      patterns: both(a.patterns, b.patterns),
      unlike: both(a.unlike, b.unlike),
      formats: both(a.formats, b.formats),
      except: both(a.except, b.except),
    });
  if (a.type === "array" && b.type === "array")
    return sized({
      ...range(a, b),
      type: "array",
      parts: both(a.parts, b.parts),
      unique: a.unique || b.unique,
      contains: both(a.contains, b.contains),
    });
  if (a.type === "object" && b.type === "object")
    return sized({
      ...range(a, b),
      type: "object",
      parts: both(a.parts, b.parts),
      required: both(a.required, b.required),
      names: both(a.names, b.names),
    });
  return [];
}

interface Sized {
  readonly min: number;
  readonly max: number;
}

const range = (a: Sized, b: Sized): Sized => ({ min: Math.max(a.min, b.min), max: Math.min(a.max, b.max) });
const sized = <T extends Form & Sized>(form: T): Form[] => (form.min > form.max ? [] : [form]);

function meetNumbers(a: NumberForm, b: NumberForm): Form[] {
  const low = Math.max(a.low, b.low);
  const high = Math.min(a.high, b.high);
  const lowOpen = (a.low === low && a.lowOpen) || (b.low === low && b.lowOpen);
  const highOpen = (a.high === high && a.highOpen) || (b.high === high && b.highOpen);
  if (low > high || (low === high && (lowOpen || highOpen))) return [];
  const integer = a.integer || b.integer;
  return [{ type: "number", integer, low, lowOpen, high, highOpen, divisors: both(a.divisors, b.divisors) }];
}

/** The schemas that an item must be valid against. */
export const itemSchemas = ({ parts }: ArrayForm, index: number): Schema[] =>
  parts.map(({ prefix, rest }) => prefix[index] ?? rest);

/** The schemas that a property must be valid against; `matches` says whether a pattern matches its name. */
export function propertySchemas(
  { parts }: ObjectForm,
  name: string,
  matches: (pattern: string, name: string) => boolean,
): Schema[] {
  return parts.flatMap(({ properties, patterns, rest }) => {
    const own = properties.get(name);
    const found = [...patterns].filter(([pattern]) => matches(pattern, name)).map(([, schema]) => schema);
    if (own !== undefined) found.unshift(own);
    return found.length ? found : [rest];
  });
}
