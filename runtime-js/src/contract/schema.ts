// Checks a document of a bundle against its JSON Schema, of which it knows what the contract's schemas use.
// An interpreter of schemas as data is smaller than code generated from them, and needs no eval.
import { BundleError } from "../errors.js";

export interface Schema {
  readonly $defs?: Readonly<Record<string, Schema>>;
  readonly $ref?: string;
  readonly if?: Schema;
  readonly then?: Schema;
  readonly else?: Schema;
  readonly type?: keyof typeof TYPES;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly multipleOf?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly items?: Schema;
  readonly prefixItems?: readonly Schema[];
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly required?: readonly string[];
  readonly dependentRequired?: Readonly<Record<string, readonly string[]>>;
  readonly propertyNames?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | false;
}

type Json = Readonly<Record<string, unknown>>;
/** Which field is at fault, and what of it. */
export type Fault = readonly [path: string, what: string];

const TYPES = {
  object: ["an object", (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value)],
  array: ["an array", Array.isArray],
  string: ["a string", (value: unknown) => typeof value === "string"],
  integer: ["an integer", Number.isSafeInteger],
  number: ["a number", Number.isFinite],
  boolean: ["true or false", (value: unknown) => typeof value === "boolean"],
} as const;

/** `value`, which the schema accepts. Throws a BundleError that names the field at fault in `document`. */
export function checked<T>(value: unknown, schema: Schema, document: string): T {
  const fault = schemaFault(value, schema);
  if (fault) throw bad(fault[0] || document, fault[1]);
  return value as T;
}

/** What a schema does not admit of a document, if anything. */
export const schemaFault = (value: unknown, schema: Schema): Fault | undefined => faultOf(value, schema, schema, "");

/** Throws a BundleError that names the field, unless the condition holds: for what a schema cannot say. */
export function check(condition: boolean, path: string, what: string): asserts condition {
  if (!condition) throw bad(path, what);
}

const bad = (path: string, what: string): BundleError => new BundleError(`The bundle is not valid: ${path}: ${what}.`);

function faultOf(value: unknown, rule: Schema, root: Schema, path: string): Fault | undefined {
  if (rule.$ref) return faultOf(value, root.$defs![rule.$ref.slice("#/$defs/".length)]!, root, path);
  if (rule.if) return faultOf(value, faultOf(value, rule.if, root, path) ? rule.else! : rule.then!, root, path);
  if (rule.type && !TYPES[rule.type][1](value)) return [path, `must be ${TYPES[rule.type][0]}`];
  if (rule.const !== undefined && value !== rule.const) return [path, `must be ${JSON.stringify(rule.const)}`];
  if (rule.enum && !rule.enum.includes(value)) return [path, `must be one of ${rule.enum.join(", ")}`];
  if (typeof value === "number") return numberFault(value, rule, path);
  if (typeof value === "string") return textFault(value, rule, path);
  if (Array.isArray(value)) return arrayFault(value, rule, root, path);
  return rule.type === "object" ? objectFault(value as Json, rule, root, path) : undefined;
}

function numberFault(value: number, rule: Schema, path: string): Fault | undefined {
  const { minimum = -Infinity, maximum = Infinity, exclusiveMinimum = -Infinity, multipleOf = 1 } = rule;
  if (value < minimum || value > maximum) return [path, `must be between ${minimum} and ${maximum}`];
  if (value <= exclusiveMinimum) return [path, `must be more than ${exclusiveMinimum}`];
  return rule.multipleOf && value % multipleOf ? [path, `must be a multiple of ${multipleOf}`] : undefined;
}

const patterns = new Map<string, RegExp>();

function textFault(value: string, { minLength, maxLength, pattern }: Schema, path: string): Fault | undefined {
  // a schema counts code points, of which there are at most as many as UTF-16 units
  const long = maxLength !== undefined && value.length > maxLength && [...value].length > maxLength;
  if (long || value.length < (minLength ?? 0)) return [path, `must have ${minLength ?? 0} to ${maxLength} characters`];
  if (pattern === undefined) return undefined;
  const compiled = patterns.get(pattern) ?? new RegExp(pattern, "u");
  patterns.set(pattern, compiled);
  return compiled.test(value) ? undefined : [path, `must not be ${JSON.stringify(value.slice(0, 80))}`];
}

function arrayFault(value: readonly unknown[], rule: Schema, root: Schema, path: string): Fault | undefined {
  const { minItems = 0, maxItems = Infinity } = rule;
  if (value.length < minItems || value.length > maxItems) return [path, `must have ${minItems} to ${maxItems} items`];
  for (const [i, item] of value.entries()) {
    const own = rule.prefixItems?.[i] ?? rule.items;
    const fault = own && faultOf(item, own, root, `${path}[${i}]`);
    if (fault) return fault;
  }
  return rule.uniqueItems && new Set(value).size < value.length ? [path, "has an item twice"] : undefined;
}

function objectFault(value: Json, rule: Schema, root: Schema, path: string): Fault | undefined {
  const keys = Object.keys(value);
  const { minProperties = 0, maxProperties = Infinity } = rule;
  if (keys.length < minProperties || keys.length > maxProperties)
    return [path, `must have ${minProperties} to ${maxProperties} keys`];
  const needed = keys.flatMap((key) => rule.dependentRequired?.[key] ?? []);
  for (const key of [...(rule.required ?? []), ...needed])
    if (!Object.hasOwn(value, key)) return [path, `lacks ${key}`];
  for (const key of keys) {
    const named = rule.propertyNames && faultOf(key, rule.propertyNames, root, "");
    if (named) return [path, `has a key that ${named[1]}`];
    const own = rule.properties && Object.hasOwn(rule.properties, key) ? rule.properties[key] : undefined;
    const item = own ?? rule.additionalProperties;
    if (item === false) return [path, `has ${JSON.stringify(key.slice(0, 80))}, which no bundle has`];
    const fault = item && faultOf(value[key], item, root, path ? `${path}.${key}` : key);
    if (fault) return fault;
  }
  return undefined;
}
