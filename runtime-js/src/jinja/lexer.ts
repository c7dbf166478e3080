// Cuts a template into tokens by jinja2's rules, with `trim_blocks` and `lstrip_blocks` on, as transformers sets it up.
import { TemplateError } from "./values.js";

export interface Token {
  readonly type:
    | "text"
    | "block"
    | "block-end"
    | "print"
    | "print-end"
    | "name"
    | "string"
    | "integer"
    | "float"
    | "operator"
    | "end";
  readonly value: string;
  readonly line: number;
}

/** What str.splitlines ends a line at, inside a character class. */
export const LINE_ENDS = "\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029";
/** What Python takes for white space, inside a character class. */
export const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const BEGIN = new RegExp(`\\{%([-+]?)[${SPACE}]*raw[${SPACE}]*(?:-%\\}[${SPACE}]*|%\\})|\\{([%#{])([-+]?)`, "g");
const RAW_END = new RegExp(`\\{%([-+]?)[${SPACE}]*endraw[${SPACE}]*(?:\\+%\\}|-%\\}[${SPACE}]*|%\\}\\n?)`, "g");
const COMMENT_END = new RegExp(`\\+#\\}|-#\\}[${SPACE}]*|#\\}\\n?`, "g");
const BLOCK_END = new RegExp(`\\+%\\}|-%\\}[${SPACE}]*|%\\}\\n?`, "y");
const PRINT_END = new RegExp(`-\\}\\}[${SPACE}]*|\\}\\}`, "y");
const TRAILING = new RegExp(`[${SPACE}]+$`);
const BLANK = new RegExp(`^[${SPACE}]*$`);

const DIGITS = "(?:\\d+_)*\\d+";
const RULES: readonly (readonly ["space" | Token["type"], RegExp])[] = [
  ["space", new RegExp(`[${SPACE}]+`, "y")],
  ["float", new RegExp(`(?<!\\.)${DIGITS}(?:(?:\\.${DIGITS})?e[+-]?${DIGITS}|\\.${DIGITS})`, "iy")],
  ["integer", /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy],
  ["name", /[\p{L}\p{Nl}\p{M}\p{Nd}_]+/uy],
  ["string", /'[^'\\]*(?:\\[\s\S][^'\\]*)*'|"[^"\\]*(?:\\[\s\S][^"\\]*)*"/y],
  ["operator", /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}<>=.:|,;]/y],
];
const CLOSING: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/** Throws TemplateError for what is no token. */
export function tokenize(template: string): Token[] {
  const source = template.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  const tokens: Token[] = [];
  let at = 0;
  let line = 1;
  let lineStarts = true;
  const push = (type: Token["type"], value: string): void => {
    tokens.push({ type, value, line });
  };
  const fail = (message: string): never => {
    throw new TemplateError(`${message} (line ${line})`);
  };
  /** Goes on past `text`, which the template has at `at`. */
  const pass = (text: string): void => {
    at += text.length;
    for (const character of text) if (character === "\n") line++;
    lineStarts = text.endsWith("\n");
  };
  const find = (rule: RegExp): RegExpExecArray | null => {
    rule.lastIndex = at;
    return rule.exec(source);
  };
  /** Text up to a tag, without the white space that the tag takes away before it. */
  const text = (raw: string, sign: string | undefined, block: boolean): string => {
    if (sign === "-") return raw.replace(TRAILING, "");
    if (sign === "+" || !block) return raw;
    const start = raw.lastIndexOf("\n") + 1;
    return (start > 0 || lineStarts) && BLANK.test(raw.slice(start)) ? raw.slice(0, start) : raw;
  };
  const pushText = (value: string): void => {
    if (value !== "") push("text", value);
  };

  const inside = (end: "block-end" | "print-end"): void => {
    const open: string[] = [];
    const rule = end === "block-end" ? BLOCK_END : PRINT_END;
    for (;;) {
      const closing = open.length === 0 ? find(rule) : null;
      if (closing) {
        push(end, closing[0]);
        pass(closing[0]);
        return;
      }
      if (at >= source.length) fail("unexpected end of template");
      const match = RULES.map(([type, pattern]) => [type, find(pattern)?.[0]] as const).find(
        ([, found]) => found !== undefined,
      );
      if (!match) fail(`unexpected character ${JSON.stringify(String.fromCodePoint(source.codePointAt(at)!))}`);
      const [type, value] = match as readonly ["space" | Token["type"], string];
      if (type === "operator") {
        if (CLOSING[value]) open.push(CLOSING[value]!);
        else if (/[)\]}]/.test(value) && open.pop() !== value) fail(`unexpected '${value}'`);
      }
      if (type !== "space") push(type, value);
      pass(value);
    }
  };

  for (;;) {
    const begin = find(BEGIN);
    if (!begin) break;
    const raw = source.slice(at, begin.index);
    const kind = begin[2];
    pushText(text(raw, begin[1] ?? begin[3], kind !== "{"));
    pass(raw + begin[0]);
    if (kind === "{" || kind === "%") {
      push(kind === "{" ? "print" : "block", begin[0]);
      inside(kind === "{" ? "print-end" : "block-end");
    } else {
      const end = find(kind === "#" ? COMMENT_END : RAW_END);
      if (!end) return fail(`missing end of ${kind === "#" ? "comment" : "raw directive"}`);
      const body = source.slice(at, end.index);
      if (kind === undefined) pushText(text(body, end[1], true));
      pass(body + end[0]);
    }
  }
  pushText(source.slice(at));
  push("end", "");
  return tokens;
}

const ESCAPES: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** A string literal's text: Python's escapes, and a backslash before anything else stays. */
export function unquote(literal: string): string {
  return literal
    .slice(1, -1)
    .replace(/\\(x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|[0-7]{1,3}|[\s\S])/g, (all, code: string) => {
      const plain = ESCAPES[code];
      if (plain !== undefined) return plain;
      if (/^[0-7]/.test(code)) return String.fromCodePoint(parseInt(code, 8));
      if (/^(?:x..|u....|U.{8})$/.test(code)) return String.fromCodePoint(parseInt(code.slice(1), 16));
      return all;
    });
}
