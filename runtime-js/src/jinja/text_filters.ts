// Defines jinja2's filters of one value: text and numbers.
import { percentFormat } from "./format.js";
import { LINE_ENDS, SPACE } from "./lexer.js";
import { own } from "./lookup.js";
import { round } from "./numbers.js";
import { use } from "./operators.js";
import { capitalize, center, replace, strip } from "./string_methods.js";
import { str, toJson } from "./text.js";
import {
  asInteger,
  asNumber,
  asString,
  Dict,
  Float,
  fail,
  integer,
  iterate,
  type Named,
  NONE,
  truth,
  tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.js";

export type Filter = (value: Value, ...args: (Value | undefined)[]) => Value;

/** Names of a filter's arguments after the value, and what it does: those without a default are required. */
export type Filters = Readonly<Record<string, readonly [names: string, body: Filter]>>;

const text = (body: (value: string) => Value): readonly [string, Filter] => ["", (value) => body(str(value))];
const HTML: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;" };
const escapeHtml = text((value) => value.replace(/[&<>'"]/g, (character) => HTML[character]!));
const standard: readonly [string, Filter] = [
  "default_value boolean",
  (value, other = "", boolean = false) =>
    value instanceof Undefined || (truth(boolean) && !truth(value)) ? other : value,
];
const LINE_END = new RegExp(`\\r\\n|[${LINE_ENDS}]`);
const WORD_ENDS = new RegExp(`([-(\\{\\[<${SPACE}]+)`);

export const TEXT_FILTERS: Filters = {
  abs: [
    "",
    (value) => {
      use(value);
      const size = Math.abs(asNumber(value) ?? fail(`bad operand type for abs(): '${typeName(value)}'`));
      return value instanceof Float ? new Float(size) : size;
    },
  ],
  attr: [
    "name",
    (value, name) => {
      const attribute = asString(name!, "attribute name");
      use(value);
      return own(value, attribute) ?? new Undefined(`'${typeName(value)} object' has no attribute '${attribute}'`);
    },
  ],
  capitalize: text(capitalize),
  center: ["width", (value, width = 80) => center(str(value), asInteger(width), " ")],
  d: standard,
  default: standard,
  e: escapeHtml,
  escape: escapeHtml,
  float: [
    "default",
    (value, other = new Float(0)) => {
      use(value);
      const number = typeof value === "string" ? parseFloatLike(value) : asNumber(value);
      return number === undefined ? other : new Float(number);
    },
  ],
  forceescape: escapeHtml,
  indent: [
    "width first blank",
    (value, width = 4, first = false, blank = false) => {
      const by = typeof width === "string" ? width : " ".repeat(asInteger(width));
      const lines = `${asString(value)}\n`.split(LINE_END).slice(0, -1);
      const whole = lines.map((line, i) => (i > 0 && (line !== "" || truth(blank)) ? by + line : line)).join("\n");
      return truth(first) ? by + whole : whole;
    },
  ],
  int: [
    "default base",
    (value, other = 0, base = 10) => {
      use(value);
      if (typeof value === "string")
        return parseInteger(value, asInteger(base)) ?? truncated(parseFloatLike(value)) ?? other;
      return truncated(asNumber(value)) ?? other;
    },
  ],
  lower: text((value) => value.toLowerCase()),
  replace: ["old new count", (value, old, next, count = -1) => replace(str(value), str(old!), str(next!), count)],
  round: [
    "precision method",
    (value, precision = 0, method = "common") => {
      use(value);
      const [number, places] = [
        asNumber(value) ?? fail(`type ${typeName(value)} doesn't define __round__ method`),
        asInteger(precision),
      ];
      if (method === "common") {
        if (value instanceof Float) return new Float(round(number, places));
        return places >= 0 ? number : round(number, places);
      }
      const scaled = number * 10 ** places;
      if (method !== "ceil" && method !== "floor") fail("method must be common, ceil or floor");
      return new Float(integer(method === "ceil" ? Math.ceil(scaled) : Math.floor(scaled)) / 10 ** places);
    },
  ],
  safe: text((value) => value),
  string: text((value) => value),
  title: text((value) =>
    value
      .split(WORD_ENDS)
      .map((word) => {
        const [first = "", ...rest] = word;
        return first.toUpperCase() + rest.join("").toLowerCase();
      })
      .join(""),
  ),
  tojson: [
    "ensure_ascii indent separators sort_keys",
    (value, ascii = false, indent = NONE, separators = NONE, sort = false) => {
      const [item, key, ...more] =
        separators === NONE
          ? [indent === NONE ? ", " : ",", ": "]
          : [...iterate(separators)].map((part) => asString(part));
      if (item === undefined || key === undefined || more.length > 0) return fail("separators are two");
      const by =
        indent === NONE ? null : typeof indent === "string" ? indent : " ".repeat(Math.max(0, asInteger(indent)));
      return toJson(value, { ascii: truth(ascii), indent: by, item, key, sort: truth(sort) });
    },
  ],
  trim: ["chars", (value, characters = NONE) => strip(str(value), characters)],
  truncate: [
    "length killwords end leeway",
    (value, length = 255, kill = false, end = "...", leeway = NONE) => {
      const characters = [...asString(value)];
      const [limit, tail] = [asInteger(length), asString(end)];
      if (limit < [...tail].length) fail(`expected length >= ${[...tail].length}, got ${limit}`);
      if (characters.length <= limit + (leeway === NONE ? 5 : asInteger(leeway))) return value;
      const cut = characters.slice(0, limit - [...tail].length).join("");
      const space = cut.lastIndexOf(" ");
      return (truth(kill) || space < 0 ? cut : cut.slice(0, space)) + tail;
    },
  ],
  upper: text((value) => value.toUpperCase()),
  urlencode: [
    "",
    (value) => {
      if (typeof value === "string" || value === NONE || asNumber(value) !== undefined) return quote(str(value));
      const pairs = value instanceof Dict ? value.items() : [...iterate(value)].map((pair) => [...iterate(pair)]);
      if (pairs.some((pair) => pair.length !== 2)) fail("urlencode takes pairs");
      return pairs
        .map((pair) => pair.map((part) => quote(str(part)).replaceAll("/", "%2F").replaceAll("%20", "+")).join("="))
        .join("&");
    },
  ],
  wordcount: text((value) => value.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0),
};

/** The filter `format`: `%` with values, or with names. */
export function formatFilter(value: Value, args: readonly Value[], named: Named): Value {
  if (args.length > 0 && named.size > 0) fail("can't handle positional and keyword arguments at the same time");
  return percentFormat(str(value), named.size > 0 ? new Dict(named) : tuple(...args));
}

function quote(value: string): string {
  return encodeURIComponent(value)
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%2F", "/");
}

/** What Python's float() reads; undefined where it reads none. */
function parseFloatLike(value: string): number | undefined {
  const plain = strip(value).toLowerCase();
  if (/^[+-]?(?:inf|infinity)$/.test(plain)) return plain.startsWith("-") ? -Infinity : Infinity;
  if (/^[+-]?nan$/.test(plain)) return NaN;
  return /^[+-]?(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+(?:_\d+)*)?$/.test(plain)
    ? Number(plain.replaceAll("_", ""))
    : undefined;
}

function truncated(value: number | undefined): number | undefined {
  return value === undefined || !Number.isFinite(value) ? undefined : integer(Math.trunc(value) + 0);
}

/** What Python's int() reads in a base; undefined where it reads none. */
function parseInteger(value: string, base: number): number | undefined {
  const [, sign = "", digits = ""] = /^([+-]?)(.*)$/s.exec(strip(value).toLowerCase())!;
  const prefix = { 2: "0b", 8: "0o", 16: "0x" }[base];
  const plain = prefix !== undefined && digits.startsWith(prefix) ? digits.slice(2).replace(/^_/, "") : digits;
  const allowed = "0123456789abcdefghijklmnopqrstuvwxyz".slice(0, base);
  if (!new RegExp(`^[${allowed}]+(?:_[${allowed}]+)*$`).test(plain)) return undefined;
  const number = integer(parseInt(plain.replaceAll("_", ""), base));
  return sign === "-" ? -number + 0 : number;
}
