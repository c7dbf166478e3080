// Writes Python's values as text: str(), repr() and JSON.
import { floatRepr } from "./numbers.js";
import { Dict, Float, fail, NONE, PyObject, Range, Tuple, typeName, Undefined, type Value, View } from "./values.js";

/** What printing a value writes. */
export function str(value: Value): string {
  if (typeof value === "string") return value;
  return value instanceof Undefined ? "" : repr(value);
}

export function repr(value: Value): string {
  if (value === NONE) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return BigInt(value).toString();
  if (typeof value === "string") return quoted(value);
  if (value instanceof Float) return floatRepr(value.value);
  if (value instanceof Undefined) return "Undefined";
  if (value instanceof Tuple) return value.length === 1 ? `(${repr(value[0]!)},)` : `(${value.map(repr).join(", ")})`;
  if (Array.isArray(value)) return `[${value.map(repr).join(", ")}]`;
  if (value instanceof Dict)
    return `{${value
      .items()
      .map(([key, item]) => `${repr(key)}: ${repr(item)}`)
      .join(", ")}}`;
  if (value instanceof Range) return `range(${value.start}, ${value.stop}${value.step === 1 ? "" : `, ${value.step}`})`;
  if (value instanceof View) return `dict_${value.kind}(${repr([...value.items])})`;
  const text = value instanceof PyObject ? value.attribute("__repr__") : undefined;
  // Python would print an address.
  return typeof text === "string" ? text : fail(`a ${typeName(value)} cannot be printed: list it, or call it`);
}

const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}\p{Zs}]/u;
const ESCAPES: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let inner = "";
  for (const character of text) {
    const escaped = ESCAPES[character];
    if (escaped !== undefined) inner += escaped;
    else if (character === quote) inner += `\\${quote}`;
    else if (character !== " " && UNPRINTABLE.test(character)) inner += hex(character.codePointAt(0)!);
    else inner += character;
  }
  return quote + inner + quote;
}

function hex(code: number): string {
  const [letter, digits] =
    code < 0x100 ? (["x", 2] as const) : code < 0x10000 ? (["u", 4] as const) : (["U", 8] as const);
  return `\\${letter}${code.toString(16).padStart(digits, "0")}`;
}

export interface JsonOptions {
  readonly ascii: boolean;
  /** What each level is indented by; null for one line. */
  readonly indent: string | null;
  readonly item: string;
  readonly key: string;
  readonly sort: boolean;
}

/** json.dumps(). */
export function toJson(value: Value, options: JsonOptions, level = 0): string {
  if (value === NONE) return "null";
  if (typeof value === "boolean") return String(value);
  if (typeof value === "number") return repr(value);
  if (typeof value === "string") return jsonString(value, options.ascii);
  if (value instanceof Float) return { inf: "Infinity", "-inf": "-Infinity", nan: "NaN" }[repr(value)] ?? repr(value);
  const wrap = (open: string, parts: readonly string[], close: string): string => {
    if (parts.length === 0) return open + close;
    if (options.indent === null) return open + parts.join(options.item) + close;
    const line = `\n${options.indent.repeat(level + 1)}`;
    return `${open}${line}${parts.join(options.item + line)}\n${options.indent.repeat(level)}${close}`;
  };
  if (Array.isArray(value))
    return wrap(
      "[",
      value.map((item) => toJson(item, options, level + 1)),
      "]",
    );
  if (!(value instanceof Dict)) return fail(`Object of type ${typeName(value)} is not JSON serializable`);
  const items = value.items().map(([key, item]) => [jsonKey(key), item] as const);
  if (options.sort) items.sort(([a], [b]) => (a < b ? -1 : 1));
  return wrap(
    "{",
    items.map(([key, item]) => jsonString(key, options.ascii) + options.key + toJson(item, options, level + 1)),
    "}",
  );
}

function jsonKey(key: Value): string {
  if (typeof key === "string") return key;
  if (key === NONE) return "null";
  if (typeof key === "boolean") return String(key);
  return typeof key === "number" || key instanceof Float
    ? repr(key)
    : fail(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

function jsonString(text: string, ascii: boolean): string {
  const json = JSON.stringify(text);
  return ascii
    ? json.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    : json;
}
