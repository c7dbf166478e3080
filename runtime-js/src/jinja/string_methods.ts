// Defines Python's methods of strings, but `format`, which looks into values.
import { LINE_ENDS, SPACE } from "./lexer.js";
import { type Method, place, plain } from "./method.js";
import { asInteger, asString, bind, fail, iterate, NONE, Tuple, tuple, type Value } from "./values.js";

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
function split(text: string, separator: Value, maxSplits: Value, right: boolean): Value[] {
  const limit = asInteger(maxSplits) < 0 ? Infinity : asInteger(maxSplits);
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
  const maxCount = limit < 0 ? Infinity : limit;
  return parts.reduce((whole, part, i) => (i === 0 ? part : whole + (i <= maxCount ? next : old) + part), "");
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

export const STRING: Readonly<Record<string, Method<string>>> = {
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
    const [separator = NONE, maxSplits = -1] = bind("split()", ["sep", "maxsplit"], args, named);
    return split(self, separator, maxSplits, false);
  },
  rsplit: (self, args, named) => {
    const [separator = NONE, maxSplits = -1] = bind("rsplit()", ["sep", "maxsplit"], args, named);
    return split(self, separator, maxSplits, true);
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
};

function found(at: number): number {
  return at < 0 ? fail("substring not found") : at;
}
