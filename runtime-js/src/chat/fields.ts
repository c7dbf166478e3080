// Declares a request's fields. A table of them is the one place that says what a request may have: its type, its
// checks, its defaults and what is refused all derive from the table.
import { InvalidRequestError } from "../errors.js";

/** `Input` is what a page may give, and `Value` what it becomes. */
export interface Field<Input, Value> {
  /** Throws InvalidRequestError, which names the field. */
  readonly parse: (value: unknown, name: string, vocabSize: number) => Value;
  /** Stands for a field that is null or not given. A field without a fallback is required: its `parse` refuses null. */
  readonly fallback?: Value;
  /** Exists for the type alone. */
  readonly input?: Input;
}
export type Fields = Readonly<Record<string, Field<unknown, unknown>>>;

/** What a page may give. null is as good as nothing, as OpenAI's clients have it. */
export type RequestOf<T extends Fields> = { -readonly [K in keyof T]?: NonNullable<T[K]["input"]> | null };
export type ValuesOf<T extends Fields> = { readonly [K in keyof T]: ReturnType<T[K]["parse"]> };

/** Throws InvalidRequestError for a field that the table does not have, or a value that it does not admit. */
export function parseFields<T extends Fields>(table: T, request: unknown, vocabSize: number): ValuesOf<T> {
  const fields = asRecord(request, "request");
  refuseOthers(fields, table, "");
  const values = Object.entries(table).map(([name, field]) => {
    const value = fields[name] ?? null;
    return [name, value === null && "fallback" in field ? field.fallback : field.parse(value, name, vocabSize)];
  });
  return Object.fromEntries(values) as ValuesOf<T>;
}

/** Throws for a field that `known` does not have, unless it is null. */
export function refuseOthers(fields: Record<string, unknown>, known: object, prefix: string): void {
  for (const [key, value] of Object.entries(fields))
    if (!Object.hasOwn(known, key) && value != null)
      throw new InvalidRequestError(prefix + key, "is not a known parameter.");
}

export function asRecord(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new InvalidRequestError(name, "must be an object.");
  return value as Record<string, unknown>;
}

export function number<F>(min: number, max: number, fallback: F): Field<number, number | F> {
  return { parse: (value, name) => checkNumber(value, name, min, max), fallback };
}

export function integer<F>(min: number, max: number, fallback: F): Field<number, number | F> {
  const parse = (value: unknown, name: string): number => {
    const checked = checkNumber(value, name, min, max);
    if (!Number.isInteger(checked)) throw new InvalidRequestError(name, "must be an integer.");
    return checked;
  };
  return { parse, fallback };
}

function checkNumber(value: unknown, name: string, min: number, max: number): number {
  if (typeof value !== "number" || !(value >= min && value <= max))
    throw new InvalidRequestError(name, `must be a number from ${min} to ${max}.`);
  return value;
}

export function checkFlag(value: unknown, name: string): boolean {
  if (typeof value !== "boolean") throw new InvalidRequestError(name, "must be true or false.");
  return value;
}

export const flag = (fallback = false): Field<boolean, boolean> => ({ parse: checkFlag, fallback });

/** A field of OpenAI's that has no meaning here: any value is accepted and ignored. */
export const ignored = <Input>(): Field<Input, undefined> => ({ parse: () => undefined, fallback: undefined });

export const signal: Field<AbortSignal, AbortSignal | undefined> = {
  parse: (value, name) => {
    if (!(value instanceof AbortSignal)) throw new InvalidRequestError(name, "must be an AbortSignal.");
    return value;
  },
  fallback: undefined,
};
