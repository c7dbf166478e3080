// Defines the methods of strings, lists and dicts, except those that change them, which the sandbox forbids.
import { braceFormat } from "./format.js";
import { LINE_ENDS, SPACE } from "./lexer.js";
import { subscript } from "./operators.js";
import { repr } from "./text.js";
import {
  asInteger,
  asString,
  bind,
  type Callable,
  Dict,
  equal,
  fail,
  iterate,
  type Named,
  NONE,
  Tuple,
  tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.js";

type Method<T> = (self: T, args: readonly Value[], named: Named) => Value;

/** Attributes of Python's that are read in full by name, so that `d.items` is not d["items"]. */
const CHANGING: Readonly<Record<string, readonly string[]>> = {
  list: ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"],
  dict: ["clear", "pop", "popitem", "setdefault", "update"],
};

/** `value.name` for what has attributes of Python's; undefined where there is none. */
export function method(value: Value, name: string): Value | undefined {
  const type = typeName(value);
  if (CHANGING[type]?.includes(name))
    return new Undefined(`access to attribute '${name}' of '${type}' object is unsafe.`);
  if (typeof value === "string") return bound(STRING, value, name);
  if (value instanceof Dict) return bound(DICT, value, name);
  return Array.isArray(value) ? bound(LIST, value, name) : undefined;
}

function bound<T>(methods: Readonly<Record<string, Method<T>>>, self: T, name: string): Callable | undefined {
  const found = Object.hasOwn(methods, name) ? methods[name] : undefined;
  return found && ((args, named) => found(self, args, named));
}

/** A method without arguments by name, and of at least `least`. */
function plain<T>(name: string, least: number, most: number, body: (self: T, ...args: Value[]) => Value): Method<T> {
  return (self, args, named) => {
    if (named.size > 0) fail(`${name}() takes no keyword arguments`);
    if (args.length < least || args.length > most)
      fail(`${name}() takes ${least} to ${most} arguments, not ${args.length}`);
    return body(self, ...args);
  };
}

const DICT: Readonly<Record<string, Method<Dict>>> = {
  get: plain("get", 1, 2, (self, key, other = NONE) => self.get(key!) ?? other),
  items: plain(
    "items",
    0,
    0,
    (self) =>
      new View(
        self.items().map((pair) => tuple(...pair)),
        "items",
      ),
  ),
  keys: plain("keys", 0, 0, (self) => new View(self.keys(), "keys")),
  values: plain(
    "values",
    0,
    0,
    (self) =>
      new View(
        self.items().map(([, value]) => value),
        "values",
      ),
  ),
  copy: plain("copy", 0, 0, (self) => new Dict(self.items())),
};

const LIST: Readonly<Record<string, Method<Value[]>>> = {
  count: plain("count", 1, 1, (self, value) => self.filter((item) => equal(item, value!)).length),
  index: plain("index", 1, 3, (self, value, start = 0, stop = self.length) => {
    const [from, to] = [place(self, start), place(self, stop)];
    const at = self.findIndex((item, i) => i >= from && i < to && equal(item, value!));
    return at < 0 ? fail(`${repr(value!)} is not in list`) : at;
  }),
  copy: plain("copy", 0, 0, (self) =>
    self instanceof Tuple ? fail("'tuple' object has no attribute 'copy'") : [...self],
  ),
};

function place(items: readonly unknown[], at: Value): number {
  const index = asInteger(at);
  return index < 0 ? Math.max(0, index + items.length) : Math.min(index, items.length);
}

export type Side = "both" | "left" | "right";

/** str.strip() and its halves: white space, or any of the characters given. */
export function strip(text: string, characters: Value = NONE, side: Side = "both"): string {
  const set =
    characters === NONE
      ? `[${SPACE}]`
      : characters === ""
        ? "[^\\s\\S]"
        : `[${asString(characters, "strip arg").replace(/[\\\]^-]/g, "\\$&")}]`;
  const left = side === "right" ? text : text.replace(new RegExp(`^${set}+`, "u"), "");
  return side === "left" ? left : left.replace(new RegExp(`${set}+$`, "u"), "");
}

const WORDS = new RegExp(`[^${SPACE}]+`, "g");

/** str.split() and str.rsplit(). */
function split(text: string, separator: Value, most: Value, right: boolean): Value[] {
  const limit = asInteger(most) < 0 ? Infinity : asInteger(most);
  if (separator === NONE) {
    const words = [...text.matchAll(WORDS)].map((match) => [match.index, match.index + match[0].length] as const);
    const cut = words.map(([from, to]) => text.slice(from, to));
    if (words.length <= limit) return cut;
    const first = words.length - limit - 1;
    return right
      ? [text.slice(0, words[first]![1]), ...cut.slice(first + 1)]
      : [...cut.slice(0, limit), text.slice(words[limit]![0])];
  }
  const by = asString(separator, "separator") || fail("empty separator");
  const parts = text.split(by);
  if (parts.length - 1 <= limit) return parts;
  return right
    ? [parts.slice(0, parts.length - limit).join(by), ...parts.slice(parts.length - limit)]
    : [...parts.slice(0, limit), parts.slice(limit).join(by)];
}

/** str.replace(): an empty `from` is between all characters. */
export function replace(text: string, from: Value, to: Value, count: Value = -1): string {
  const [old, next, limit] = [
    asString(from, "replace() argument 1"),
    asString(to, "replace() argument 2"),
    asInteger(count),
  ];
  const parts = old === "" ? ["", ...text, ""] : text.split(old);
  const most = limit < 0 ? Infinity : limit;
  return parts.reduce((whole, part, i) => (i === 0 ? part : whole + (i <= most ? next : old) + part), "");
}

export function center(text: string, width: number, fill: string): string {
  const missing = width - [...text].length;
  if (missing <= 0) return text;
  const left = (missing >> 1) + (missing & width & 1);
  return fill.repeat(left) + text + fill.repeat(missing - left);
}

/** str.capitalize(): the first letter large, all others small. */
export function capitalize(text: string): string {
  const letters = [...text];
  return letters.map((letter, i) => (i === 0 ? titled(letter) : lower(letters, i))).join("");
}

/** A letter's small form: a word's last Σ has another. */
function lower(letters: readonly string[], at: number): string {
  if (letters[at] !== "Σ") return letters[at]!.toLowerCase();
  const last =
    /\p{Cased}\p{Case_Ignorable}*$/u.test(letters.slice(0, at).join("")) &&
    !/^\p{Case_Ignorable}*\p{Cased}/u.test(letters.slice(at + 1).join(""));
  return last ? "ς" : "σ";
}

/** Letters such as ǆ have a third form, and ß becomes Ss. */
function titled(letter: string): string {
  if (/[\u01c4-\u01cc\u01f1-\u01f3]/.test(letter))
    return letter.toUpperCase().replace(/[ǄǇǊǱ]/, (large) => String.fromCharCode(large.charCodeAt(0) + 1));
  const [first = "", ...rest] = letter.toUpperCase();
  return first + rest.join("").toLowerCase();
}

const CASED = /\p{Cased}/u;

function title(text: string): string {
  let inside = false;
  return [...text]
    .map((letter, i, letters) => {
      const next = inside ? lower(letters, i) : titled(letter);
      inside = CASED.test(letter);
      return next;
    })
    .join("");
}

/** Indices of str.find() and its kin, in code points; -1 where there is none. */
function find(text: string, args: readonly Value[], last: boolean): number {
  const characters = [...text];
  const needle = asString(args[0]!);
  const from = place(characters, args[1] ?? 0);
  const to = place(characters, args[2] ?? characters.length);
  if (from > to) return -1;
  const within = characters.slice(from, to).join("");
  const at = last ? within.lastIndexOf(needle) : within.indexOf(needle);
  return at < 0 ? -1 : from + [...within.slice(0, at)].length;
}

function within(text: string, start: Value, stop: Value): string {
  const characters = [...text];
  return characters.slice(place(characters, start ?? 0), place(characters, stop ?? characters.length)).join("");
}

function affixed(name: string, test: (text: string, affix: string) => boolean): Method<string> {
  return plain(name, 1, 3, (self, affixes, start, stop) => {
    const part = within(self, start ?? 0, stop ?? [...self].length);
    return (affixes instanceof Tuple ? affixes : [affixes!]).some((affix) =>
      test(part, asString(affix, `${name} argument`)),
    );
  });
}

const justified = (name: string, body: (text: string, width: number, fill: string) => string): Method<string> =>
  plain(name, 1, 2, (self, width, fill = " ") =>
    body(
      self,
      asInteger(width!),
      [...asString(fill)].length === 1 ? asString(fill) : fail("The fill character must be exactly one character long"),
    ),
  );
const every = (name: string, pattern: RegExp): Method<string> => plain(name, 0, 0, (self) => pattern.test(self));
const mapped = (name: string, body: (text: string) => Value): Method<string> => plain(name, 0, 0, body);
const LINE = new RegExp(`[^${LINE_ENDS}]*(?:\\r\\n|[${LINE_ENDS}]|$)`, "g");
const LINE_END = new RegExp(`(?:\\r\\n|[${LINE_ENDS}])$`);

const STRING: Readonly<Record<string, Method<string>>> = {
  upper: mapped("upper", (self) => self.toUpperCase()),
  lower: mapped("lower", (self) => self.toLowerCase()),
  capitalize: mapped("capitalize", capitalize),
  title: mapped("title", title),
  swapcase: mapped("swapcase", (self) =>
    [...self]
      .map((letter, i, letters) =>
        /\p{Uppercase}/u.test(letter)
          ? lower(letters, i)
          : /\p{Lowercase}/u.test(letter)
            ? letter.toUpperCase()
            : letter,
      )
      .join(""),
  ),
  strip: plain("strip", 0, 1, (self, characters) => strip(self, characters)),
  lstrip: plain("lstrip", 0, 1, (self, characters) => strip(self, characters, "left")),
  rstrip: plain("rstrip", 0, 1, (self, characters) => strip(self, characters, "right")),
  split: (self, args, named) => {
    const [separator = NONE, most = -1] = bind("split()", ["sep", "maxsplit"], args, named);
    return split(self, separator, most, false);
  },
  rsplit: (self, args, named) => {
    const [separator = NONE, most = -1] = bind("rsplit()", ["sep", "maxsplit"], args, named);
    return split(self, separator, most, true);
  },
  splitlines: (self, args, named) => {
    const [keep = false] = bind("splitlines()", ["keepends"], args, named);
    const lines = self.match(LINE)!.filter((line) => line !== "");
    return asInteger(keep) ? lines : lines.map((line) => line.replace(LINE_END, ""));
  },
  partition: plain("partition", 1, 1, (self, separator) => {
    const by = asString(separator!) || fail("empty separator");
    const at = self.indexOf(by);
    return at < 0 ? tuple(self, "", "") : tuple(self.slice(0, at), by, self.slice(at + by.length));
  }),
  rpartition: plain("rpartition", 1, 1, (self, separator) => {
    const by = asString(separator!) || fail("empty separator");
    const at = self.lastIndexOf(by);
    return at < 0 ? tuple("", "", self) : tuple(self.slice(0, at), by, self.slice(at + by.length));
  }),
  join: plain("join", 1, 1, (self, items) =>
    [...iterate(items!)].map((item, i) => asString(item, `sequence item ${i}`)).join(self),
  ),
  replace: (self, args, named) => {
    const [from, to, count = -1] = bind("replace()", ["old", "new", "count"], args, named);
    if (from === undefined || to === undefined || named.has("old") || named.has("new"))
      fail("replace() takes two arguments, or three");
    return replace(self, from!, to!, count);
  },
  removeprefix: plain("removeprefix", 1, 1, (self, prefix) =>
    self.startsWith(asString(prefix!)) ? self.slice(asString(prefix!).length) : self,
  ),
  removesuffix: plain("removesuffix", 1, 1, (self, suffix) =>
    suffix !== "" && self.endsWith(asString(suffix!)) ? self.slice(0, -asString(suffix!).length) : self,
  ),
  startswith: affixed("startswith", (text, affix) => text.startsWith(affix)),
  endswith: affixed("endswith", (text, affix) => text.endsWith(affix)),
  find: plain("find", 1, 3, (self, ...args) => find(self, args, false)),
  rfind: plain("rfind", 1, 3, (self, ...args) => find(self, args, true)),
  index: plain("index", 1, 3, (self, ...args) => found(find(self, args, false))),
  rindex: plain("rindex", 1, 3, (self, ...args) => found(find(self, args, true))),
  count: plain("count", 1, 3, (self, part, start, stop) => {
    const text = within(self, start ?? 0, stop ?? [...self].length);
    return asString(part!) === "" ? [...text].length + 1 : text.split(asString(part!)).length - 1;
  }),
  center: justified("center", center),
  ljust: justified("ljust", (text, width, fill) => text + fill.repeat(Math.max(0, width - [...text].length))),
  rjust: justified("rjust", (text, width, fill) => fill.repeat(Math.max(0, width - [...text].length)) + text),
  zfill: plain("zfill", 1, 1, (self, width) => {
    const sign = /^[-+]/.exec(self)?.[0] ?? "";
    return sign + "0".repeat(Math.max(0, asInteger(width!) - [...self].length)) + self.slice(sign.length);
  }),
  isalnum: every("isalnum", /^[\p{L}\p{N}]+$/u),
  isalpha: every("isalpha", /^\p{L}+$/u),
  isascii: every("isascii", /^[\0-\x7f]*$/),
  isdecimal: every("isdecimal", /^\p{Nd}+$/u),
  isdigit: every("isdigit", /^[\p{Nd}²³¹⁰-⁹₀-₉]+$/u),
  isnumeric: every("isnumeric", /^\p{N}+$/u),
  isspace: every("isspace", new RegExp(`^[${SPACE}]+$`)),
  islower: mapped("islower", (self) => CASED.test(self) && self === self.toLowerCase()),
  isupper: mapped("isupper", (self) => CASED.test(self) && self === self.toUpperCase()),
  istitle: mapped("istitle", (self) => CASED.test(self) && self === title(self)),
  format: (self, args, named) =>
    braceFormat(self, args, named, (value, name, attribute) => {
      const key = /^\d+$/.test(name) ? Number(name) : name;
      const next = attribute ? member(value, name) : subscript(value, key);
      return next ?? fail(`the format field ${repr(name)} is not there`);
    }),
};

function found(at: number): number {
  return at < 0 ? fail("substring not found") : at;
}

/** jinja2's `value.name`: an attribute of Python's, else an item. */
export function member(value: Value, name: string): Value | undefined {
  return method(value, name) ?? subscript(value, name);
}
