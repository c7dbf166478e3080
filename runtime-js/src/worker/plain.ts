// Copies values into JSON and back, for ports that carry nothing else, and for proxies, which no port carries.
import { InvalidRequestError } from "../errors.js";
import { CARRIED, kindOf } from "../text/content.js";

const DEEPEST = 200;
/** The key of what JSON has no word for. */
const TAG = "$mlcweb";

const ARRAYS = { Float32Array, Float64Array, Int32Array, Uint32Array, Uint8Array } as const;
type ArrayName = keyof typeof ARRAYS;

type Refuse = (what: string, hint?: string) => never;

/** A copy of arrays and plain objects all the way down. Throws InvalidRequestError, which names the field, for what
 * cannot cross to a worker. */
export function plainCopy(
  value: unknown,
  leaf: (value: unknown, refuse: Refuse) => unknown = (same) => same,
  at = "",
  depth = 0,
): unknown {
  const refuse: Refuse = (what, hint) => {
    const field = at.replace(/^args\[\d+\]\.?/, "") || "request";
    throw new InvalidRequestError(field, `${what}, which cannot cross to a worker.`, hint);
  };
  if (typeof value === "function") return refuse("is a function");
  if (typeof value === "symbol") return refuse("is a symbol");
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return leaf(value, refuse);
  if (CARRIED.includes(kindOf(value))) return leaf(value, refuse);
  if (depth > DEEPEST) return refuse("is nested too deeply, or holds itself");
  if (Array.isArray(value)) return value.map((item, i) => plainCopy(item, leaf, `${at}[${i}]`, depth + 1));
  const prototype = Object.getPrototypeOf(value) as unknown;
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null)
    return refuse(`is a ${(value as object).constructor?.name || "special object"}`);
  const entries = Object.entries(value).map(([key, item]) => [
    key,
    plainCopy(item, leaf, at ? `${at}.${key}` : key, depth + 1),
  ]);
  return Object.fromEntries(entries);
}

/** A copy that JSON can say. */
export const toJson = (value: unknown): unknown =>
  plainCopy(value, (leaf, refuse) => {
    if (ArrayBuffer.isView(leaf)) {
      const bytes = new Uint8Array(leaf.buffer, leaf.byteOffset, leaf.byteLength);
      return { [TAG]: leaf.constructor.name, base64: toBase64(bytes) };
    }
    if (typeof leaf === "object" && leaf !== null)
      return refuse(`is a ${kindOf(leaf)}`, "An extension's port carries text alone: give a picture as a data: URL.");
    if (leaf === undefined) return { [TAG]: "undefined" };
    if (typeof leaf === "bigint") return { [TAG]: "bigint", text: String(leaf) };
    return typeof leaf === "number" && !Number.isFinite(leaf) ? { [TAG]: "number", text: String(leaf) } : leaf;
  });

export function fromJson(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(fromJson);
  const { [TAG]: tag, base64, text } = value as { [TAG]?: unknown; base64?: unknown; text?: unknown };
  if (tag === "undefined") return undefined;
  if (tag === "number") return Number(text);
  if (tag === "bigint" && /^-?\d+$/.test(String(text))) return BigInt(String(text));
  if (typeof tag === "string" && Object.hasOwn(ARRAYS, tag) && typeof base64 === "string")
    return new ARRAYS[tag as ArrayName](fromBase64(base64).buffer);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromJson(item)]));
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 1 << 14) text += String.fromCharCode(...bytes.subarray(i, i + (1 << 14)));
  return btoa(text);
}

const fromBase64 = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
