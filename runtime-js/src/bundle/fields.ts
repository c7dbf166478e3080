// Reads fields of untrusted JSON: each reader returns a checked value or throws a BundleError that names the path.
import { BundleError } from "../errors.js";

export type Json = Record<string, unknown>;

const bad = (path: string, what: string): BundleError => new BundleError(`The bundle is not valid: ${path} ${what}.`);

export function object(value: unknown, path: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad(path, "must be an object");
  return value as Json;
}

export function array(value: unknown, path: string, limit = 1_000_000): unknown[] {
  if (!Array.isArray(value)) throw bad(path, "must be an array");
  if (value.length > limit) throw bad(path, `has more than ${limit} items`);
  return value;
}

export function text(value: unknown, path: string): string {
  if (typeof value !== "string" || value.length === 0 || value.length > 4096) throw bad(path, "must be a string");
  return value;
}

export function integer(value: unknown, path: string, min = 0, max = 2 ** 48): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) throw bad(path, "must be an integer");
  if (value < min || value > max) throw bad(path, `must be between ${min} and ${max}`);
  return value;
}

const FILE_NAME = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$/;

/** A plain file name in the bundle's own folder: no path, no URL, no dot-dot. */
export function fileName(value: unknown, path: string): string {
  const name = text(value, path);
  if (name.length > 200 || !FILE_NAME.test(name))
    throw bad(path, `is not a plain file name: ${JSON.stringify(name.slice(0, 80))}`);
  return name;
}

export function sha256(value: unknown, path: string): string {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/.test(value)) throw bad(path, "must be 64 lower-case hex digits");
  return value;
}

export function oneOf<T extends string>(value: unknown, path: string, allowed: readonly T[]): T {
  if (typeof value !== "string" || !(allowed as readonly string[]).includes(value))
    throw bad(path, `must be one of ${allowed.join(", ")}`);
  return value as T;
}

export function check(condition: boolean, path: string, what: string): asserts condition {
  if (!condition) throw bad(path, what);
}
