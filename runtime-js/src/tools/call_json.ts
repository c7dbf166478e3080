// Reads calls whose arguments are JSON: an object with name and arguments, or a name before them.
import type { ToolCallSyntax } from "../contract/index.js";
import { type Input, type Parser, partsOf } from "./input.js";
import type { Collector } from "./parts.js";

/** What every form of call is read with. */
export interface CallContext {
  readonly input: Input;
  readonly out: Collector;
  readonly syntax: ToolCallSyntax;
  /** Parameters of the tools that there are, by name. */
  readonly tools: ReadonlyMap<string, object>;
}

/** Characters of a key, and of a value beside a call's arguments: what is longer is no call, and waits no longer. */
const SHORT = 256;
/** Characters of arguments that come before their function's name. */
const LONG = 65536;

/** Reads `{"name": …, "arguments": {…}}`. Returns whether it is a call: once its arguments begin it is one, whatever
 * becomes of them. */
export function* readJsonCall({ input, out, syntax, tools }: CallContext): Parser<boolean> {
  yield* input.skip(/[\s[,;]/);
  if (!(yield* input.take("{"))) return false;
  const ends = endsOf(syntax);
  const marked = (syntax.begin + syntax.call_begin).trim() !== "";
  let name: string | undefined;
  let given: string | undefined;
  let begun = false;
  for (;;) {
    yield* input.skip(/[\s,]/);
    if (yield* input.take("}")) break;
    const key = parsed(yield* capture(input, ends, SHORT));
    yield* input.skip(/\s/);
    if (typeof key !== "string" || !(yield* input.take(":"))) return begun;
    // Without a marker most objects are none of ours: their first key says it.
    if (!marked && !begun && name === undefined && ![syntax.name_key, "type", "id"].includes(key)) return false;
    yield* input.skip(/\s/);
    if (begun) {
      if ((yield* capture(input, ends, SHORT)) === undefined) return true;
    } else if (key === syntax.name_key) {
      const value = parsed(yield* capture(input, ends, SHORT));
      if (typeof value !== "string" || !tools.has(value)) return false;
      name = value;
    } else if (key === syntax.arguments_key || key === "arguments" || key === "parameters") {
      if (name !== undefined && (yield* input.peek()) === "{") {
        out.open(name);
        begun = true;
        if (!(yield* readValue(input, ends, (text) => out.argue(text)))) return true;
      } else {
        given = yield* capture(input, ends, LONG);
        if (given === undefined) return false;
      }
    } else if ((yield* capture(input, ends, SHORT)) === undefined) return false;
  }
  if (begun) return true;
  const object = objectOf(given);
  if (name === undefined || object === undefined) return false;
  out.open(name);
  out.argue(object);
  return true;
}

/** Reads a name, what ends it, and an object. */
export function* readNamedCall({ input, out, syntax, tools }: CallContext): Parser<boolean> {
  const name = yield* readName(input);
  if (!tools.has(name) || !(yield* input.takeMarker(partsOf(syntax.name_end)))) return false;
  yield* input.skip(/\s/);
  if ((yield* input.peek()) !== "{") return false;
  out.open(name);
  yield* readValue(input, endsOf(syntax), (text) => out.argue(text));
  return true;
}

/** A function's name, where nothing quotes it. */
export function* readName(input: Input): Parser<string> {
  yield* input.skip(/\s/);
  return yield* input.skip(/[^\s(){}[\]<>"'`,=|]/);
}

/** What ends a call: outside of strings it is no part of the arguments. */
const endsOf = (syntax: ToolCallSyntax): string[] =>
  [partsOf(syntax.call_end)[0], partsOf(syntax.end)[0]].filter(
    (end) => end !== undefined && !/^[\]}]/.test(end),
  ) as string[];

/** A JSON value as it is written; undefined where it is cut short, or longer than `most`. */
function* capture(input: Input, ends: readonly string[], most: number): Parser<string | undefined> {
  const start = input.at;
  return (yield* readValue(input, ends, () => {}, start + most)) ? input.text.slice(start, input.at) : undefined;
}

/** Hands `out` a JSON value as it comes, as it is written. Returns false where it is cut short, or goes past `most`. */
function* readValue(
  input: Input,
  ends: readonly string[],
  out: (text: string) => void,
  most = Infinity,
): Parser<boolean> {
  let from = input.at;
  const flush = (): void => {
    if (input.at > from) out(input.text.slice(from, input.at));
    from = input.at;
  };
  let depth = 0;
  let quoted = false;
  for (;;) {
    if (input.at >= input.text.length) flush();
    const next = yield* input.peek();
    if (next === undefined || input.at >= most) return false;
    if (quoted) {
      if (next === "\\") {
        input.at++;
        if (input.at >= input.text.length) flush();
        if ((yield* input.peek()) === undefined) return false;
      }
      input.at++;
      if (next !== '"') continue;
      quoted = false;
    } else if (next === '"') {
      quoted = true;
      input.at++;
      continue;
    } else if (next === "{" || next === "[") {
      depth++;
      input.at++;
      continue;
    } else if (next === "}" || next === "]") {
      if (depth-- === 0) {
        flush();
        return true;
      }
      input.at++;
    } else {
      if (depth === 0 && /[\s,:]/.test(next)) {
        flush();
        return true;
      }
      const at = input.at;
      for (const end of ends) {
        if (end[0] !== next || !(yield* input.take(end))) continue;
        input.at = at;
        flush();
        return false;
      }
      input.at++;
      continue;
    }
    if (depth === 0) {
      flush();
      return true;
    }
  }
}

function parsed(json: string | undefined): unknown {
  try {
    return json === undefined ? undefined : (JSON.parse(json) as unknown);
  } catch {
    return undefined;
  }
}

/** Arguments as an object's JSON: nothing and null are none, and some models put the JSON in a string. */
function objectOf(json: string | undefined): string | undefined {
  if (json === undefined || json === "null") return "{}";
  const value = parsed(json);
  if (typeof value === "string") return isObject(parsed(value)) ? value : undefined;
  return isObject(value) ? json : undefined;
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value);
