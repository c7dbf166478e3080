// Copies what a page gives as a schema, once: getters run once, later changes do not matter, and only JSON gets in.
import { InvalidRequestError } from "../../errors.js";

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
/** A Map, so that `__proto__` is a key like any other. */
export interface JsonObject extends ReadonlyMap<string, Json> {}
export type Schema = boolean | JsonObject;

const DEPTH = 200;
const VALUES = 300_000;

export const isObject = (value: Json | undefined): value is JsonObject => value instanceof Map;
export const isSchema = (value: Json | undefined): value is Schema => typeof value === "boolean" || isObject(value);

/** The value as JSON. Throws InvalidRequestError for what JSON has not, and for what is too deep or too large. */
export function readJson(value: unknown, path: string): Json {
  let left = VALUES;
  const steps: string[] = [];
  const fail = (why: string) => new InvalidRequestError(path + steps.slice(0, 8).join(""), why);
  const read = (item: unknown): Json => {
    if (--left < 0) throw fail(`has more than ${VALUES} values.`);
    if (item === null || typeof item === "boolean" || typeof item === "string") return item;
    if (typeof item === "number" && Number.isFinite(item)) return item;
    if (steps.length > DEPTH) throw fail(`is nested more than ${DEPTH} deep.`);
    const within = (step: string, inner: unknown) => {
      steps.push(step);
      const copy = read(inner);
      steps.pop();
      return copy;
    };
    if (Array.isArray(item)) return Array.from(item, (inner, i) => within(`[${i}]`, inner));
    if (Object.prototype.toString.call(item) !== "[object Object]") throw fail("is not JSON.");
    const copy = new Map<string, Json>();
    for (const [key, inner] of Object.entries(item as object))
      if (inner !== undefined) copy.set(key, within(`.${key}`, inner));
    return copy;
  };
  try {
    return read(value);
  } catch (error) {
    if (error instanceof InvalidRequestError) throw error;
    throw fail(`cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Equal for equal values, whatever the order of their keys. Numbers are compared as doubles: 1 is 1.0. */
export function identity(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(identity).join()}]`;
  if (!isObject(value)) return JSON.stringify(value === 0 ? 0 : value);
  const members = [...value].map(([key, item]) => `${JSON.stringify(key)}:${identity(item)}`);
  return `{${members.sort().join()}}`;
}
