// Reads calls that are written as Python: `get_weather(city="Wien", days=2)`.
import { type CallContext, readName } from "./call_json.js";
import type { Input, Parser } from "./input.js";

/** How deep values may be nested. */
const DEEPEST = 64;

/** Stands for what is no value. */
const NONE = Symbol("no value");
const WORDS: Readonly<Record<string, unknown>> = {
  True: true,
  False: false,
  None: null,
  true: true,
  false: false,
  null: null,
};
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", b: "\b", f: "\f", "0": "\0", "\n": "" };
const CODES: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/** Returns whether it is a call. It is given whole when it ends. */
export function* readPythonCall({ input, out, tools }: CallContext): Parser<boolean> {
  const name = yield* readName(input);
  if (!tools.has(name) || !(yield* input.take("("))) return false;
  const given: Record<string, unknown> = {};
  for (;;) {
    yield* input.skip(/[\s,]/);
    if (yield* input.take(")")) break;
    const key = yield* input.skip(/[\p{L}\p{N}_]/u);
    yield* input.skip(/\s/);
    if (key === "" || !(yield* input.take("="))) return false;
    const value = yield* readLiteral(input, 0);
    if (value === NONE) return false;
    define(given, key, value);
  }
  out.open(name);
  out.argue(JSON.stringify(given));
  return true;
}

function* readLiteral(input: Input, depth: number): Parser<unknown> {
  if (depth > DEEPEST) return NONE;
  yield* input.skip(/\s/);
  const next = yield* input.peek();
  if (next === '"' || next === "'") return yield* readString(input, next);
  if (yield* input.take("[")) return yield* readItems(input, "]", depth + 1);
  if (yield* input.take("(")) return yield* readItems(input, ")", depth + 1);
  if (yield* input.take("{")) return yield* readDict(input, depth + 1);
  const word = yield* input.skip(/[\w.+-]/);
  if (Object.hasOwn(WORDS, word)) return WORDS[word];
  const value = word === "" ? Number.NaN : Number(word);
  return Number.isFinite(value) ? value : NONE;
}

function* readItems(input: Input, end: string, depth: number): Parser<unknown> {
  const items: unknown[] = [];
  for (;;) {
    yield* input.skip(/[\s,]/);
    if (yield* input.take(end)) return items;
    const item = yield* readLiteral(input, depth);
    if (item === NONE) return NONE;
    items.push(item);
  }
}

function* readDict(input: Input, depth: number): Parser<unknown> {
  const dict: Record<string, unknown> = {};
  for (;;) {
    yield* input.skip(/[\s,]/);
    if (yield* input.take("}")) return dict;
    const key = yield* readLiteral(input, depth);
    yield* input.skip(/\s/);
    if (key === NONE || !(yield* input.take(":"))) return NONE;
    const value = yield* readLiteral(input, depth);
    if (value === NONE) return NONE;
    define(dict, String(key), value);
  }
}

function* readString(input: Input, quote: string): Parser<unknown> {
  input.at++;
  let text = "";
  for (;;) {
    const next = yield* input.peek();
    if (next === undefined) return NONE;
    input.at++;
    if (next === quote) return text;
    if (next !== "\\") {
      text += next;
      continue;
    }
    const code = yield* input.peek();
    if (code === undefined) return NONE;
    input.at++;
    const digits = CODES[code];
    if (digits === undefined) {
      text += ESCAPES[code] ?? (/["'\\/]/.test(code) ? code : `\\${code}`);
      continue;
    }
    let hex = "";
    while (hex.length < digits && /^[0-9a-fA-F]$/.test((yield* input.peek()) ?? "")) hex += input.text[input.at++];
    const point = Number.parseInt(hex, 16);
    if (hex.length < digits || point > 0x10ffff) return NONE;
    text += String.fromCodePoint(point);
  }
}

/** Assigned, a key __proto__ would set the prototype. */
function define(object: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
}
