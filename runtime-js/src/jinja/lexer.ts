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
  return new Lexer(template.replace(/\r\n?/g, "\n").replace(/\n$/, "")).run();
}

class Lexer {
  private readonly tokens: Token[] = [];
  private at = 0;
  private line = 1;
  private lineStarts = true;
  constructor(private readonly source: string) {}

  run(): Token[] {
    for (let begin = this.find(BEGIN); begin; begin = this.find(BEGIN)) {
      const raw = this.source.slice(this.at, begin.index);
      const [whole, rawSign, kind, sign] = begin;
      this.pushText(this.trim(raw, rawSign ?? sign, kind !== "{"));
      this.pass(raw + whole);
      if (kind === "{") this.tag("print", whole, PRINT_END, "print-end");
      else if (kind === "%") this.tag("block", whole, BLOCK_END, "block-end");
      else this.skip(kind === "#");
    }
    this.pushText(this.source.slice(this.at));
    this.push("end", "");
    return this.tokens;
  }

  /** The tokens of a tag, up to its end. */
  private tag(begin: Token["type"], whole: string, closing: RegExp, end: Token["type"]): void {
    this.push(begin, whole);
    const open: string[] = [];
    for (;;) {
      const closed = open.length === 0 ? this.find(closing) : null;
      if (closed) {
        this.push(end, closed[0]);
        this.pass(closed[0]);
        return;
      }
      const [type, value] = this.inTag();
      if (type === "operator") {
        if (CLOSING[value]) open.push(CLOSING[value]!);
        else if (/[)\]}]/.test(value) && open.pop() !== value) this.fail(`unexpected '${value}'`);
      }
      if (type !== "space") this.push(type, value);
      this.pass(value);
    }
  }

  private inTag(): readonly [type: "space" | Token["type"], value: string] {
    if (this.at >= this.source.length) this.fail("unexpected end of template");
    for (const [type, pattern] of RULES) {
      const value = this.find(pattern)?.[0];
      if (value !== undefined) return [type, value];
    }
    const character = String.fromCodePoint(this.source.codePointAt(this.at)!);
    return this.fail(`unexpected character ${JSON.stringify(character)}`);
  }

  /** A comment, or a raw block, whose body is text. */
  private skip(comment: boolean): void {
    const missing = comment ? "comment" : "raw directive";
    const end = this.find(comment ? COMMENT_END : RAW_END) ?? this.fail(`missing end of ${missing}`);
    const body = this.source.slice(this.at, end.index);
    if (!comment) this.pushText(this.trim(body, end[1], true));
    this.pass(body + end[0]);
  }

  /** Text up to a tag, without the white space that the tag takes away before it. */
  private trim(raw: string, sign: string | undefined, block: boolean): string {
    if (sign === "-") return raw.replace(TRAILING, "");
    if (sign === "+" || !block) return raw;
    const start = raw.lastIndexOf("\n") + 1;
    return (start > 0 || this.lineStarts) && BLANK.test(raw.slice(start)) ? raw.slice(0, start) : raw;
  }

  /** Goes on past `text`, which the template has at `at`. */
  private pass(text: string): void {
    this.at += text.length;
    for (const character of text) if (character === "\n") this.line++;
    this.lineStarts = text.endsWith("\n");
  }

  private find(rule: RegExp): RegExpExecArray | null {
    rule.lastIndex = this.at;
    return rule.exec(this.source);
  }

  private pushText(value: string): void {
    if (value !== "") this.push("text", value);
  }

  private push(type: Token["type"], value: string): void {
    this.tokens.push({ type, value, line: this.line });
  }

  private fail(message: string): never {
    throw new TemplateError(`${message} (line ${this.line})`);
  }
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
