// Turns EBNF, as xgrammar (WebLLM's `grammar`) and llama.cpp (GBNF) write it, into a grammar.
import { InvalidRequestError } from "../errors.js";
import { ANY } from "./characters.js";
import { type Grammar, type Node, rule, text } from "./grammar.js";
import { productive } from "./productive.js";
import { withoutLeftRecursion } from "./recursion.js";
import { regexNode } from "./regex.js";
import { either, joined, MOST, repeated } from "./simplify.js";

/**
 * The grammar of which `root` is the start. `field` is the request's, for errors.
 * Throws InvalidRequestError for what is no EBNF, for rules that are missing or never end, and for rules that begin
 * with themselves by way of others.
 */
export function ebnfGrammar(source: string, field: string): Grammar {
  const rules = new Parser(source, field).parse();
  const grammar = productive({ start: rule("root"), rules }, field, "the rule root has no text that it ends with.");
  return withoutLeftRecursion(grammar, field);
}

const MAX_LENGTH = 1_000_000;
const MAX_NESTING = 200;
const BLANK = /(?:\s+|#.*)*/y;
const NAME = /[\w-]+(?:\.[\w-]+)*/y;
const DEFINITION = /([\w-]+(?:\.[\w-]+)*)\s*::=/y;
const LITERAL = /"([^"\\\r\n]*(?:\\.[^"\\\r\n]*)*)"|'([^'\\\r\n]*(?:\\.[^'\\\r\n]*)*)'/y;
const CLASS = /\[[^\]\\\r\n]*(?:\\.[^\]\\\r\n]*)*\]/y;
const COUNT = /\{\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}|[*+?]/y;
const COUNTS: Record<string, readonly [number, number]> = { "*": [0, Infinity], "+": [1, Infinity], "?": [0, 1] };
const ESCAPE = /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|(.))/gu;
const ESCAPED: Record<string, string> = {
  a: "\x07",
  b: "\b",
  e: "\x1b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  0: "\0",
};

class Parser {
  private i = 0;
  private depth = 0;
  private readonly rules = new Map<string, Node>();
  /** Where each name is first used. */
  private readonly uses = new Map<string, number>([["root", 0]]);
  private readonly classes = new Map<string, Node>();

  constructor(
    private readonly source: string,
    private readonly field: string,
  ) {}

  parse(): ReadonlyMap<string, Node> {
    if (this.source.length > MAX_LENGTH)
      throw new InvalidRequestError(this.field, `the grammar is longer than ${MAX_LENGTH} characters.`);
    for (this.match(BLANK); this.i < this.source.length; this.match(BLANK)) {
      const start = this.i,
        name = this.match(DEFINITION)?.[1] ?? this.fail("a rule (name ::= …) is expected");
      if (this.rules.has(name)) this.fail(`the rule ${name} is there a second time`, start);
      this.rules.set(name, this.alternatives());
    }
    for (const [name, at] of this.uses) if (!this.rules.has(name)) this.fail(`the rule ${name} is missing`, at);
    return this.rules;
  }

  private where(at: number): string {
    return `line ${this.source.slice(0, at).split("\n").length} of the grammar`;
  }

  private fail(what: string, at = this.i): never {
    throw new InvalidRequestError(this.field, `in ${this.where(at)}, ${what}.`);
  }

  private match(regex: RegExp): RegExpExecArray | null {
    regex.lastIndex = this.i;
    const found = regex.exec(this.source);
    if (found) this.i = regex.lastIndex;
    return found;
  }

  private eat(token: string): boolean {
    const is = this.source.startsWith(token, this.i);
    if (is) this.i += token.length;
    return is;
  }

  private alternatives(): Node {
    const found: Node[] = [];
    do found.push(this.sequence());
    while (this.eat("|"));
    return either(found);
  }

  private sequence(): Node {
    const found: Node[] = [];
    for (this.match(BLANK); !this.atEnd(); this.match(BLANK)) found.push(this.counted());
    return joined(found);
  }

  /** Of a sequence: a bar, a parenthesis, or the next rule. */
  private atEnd(): boolean {
    DEFINITION.lastIndex = this.i;
    return this.i >= this.source.length || "|)".includes(this.source[this.i]!) || DEFINITION.test(this.source);
  }

  private counted(): Node {
    const start = this.i;
    let node = this.item();
    for (this.match(BLANK); ; this.match(BLANK)) {
      const count = this.match(COUNT);
      if (!count) return node;
      const least = +count[1]!;
      const [min, max] = COUNTS[count[0]] ?? [least, count[2] ? +(count[3] || Infinity) : least];
      if (min > max || min > MOST) this.fail(`no text has ${count[0]} repeats`, start);
      node = repeated(node, min, max > MOST ? Infinity : max);
    }
  }

  private item(): Node {
    const start = this.i;
    if (this.eat("(")) return this.group(start);
    if (this.eat(".")) return { op: "chars", ranges: ANY };
    const literal = this.match(LITERAL);
    if (literal) return text(this.unescaped(literal[1] ?? literal[2]!, start));
    const set = this.match(CLASS)?.[0];
    if (set !== undefined) return this.set(set, start);
    const name = this.match(NAME)?.[0];
    if (name === undefined) this.refuse();
    if (!this.uses.has(name)) this.uses.set(name, start);
    return rule(name);
  }

  private group(start: number): Node {
    if (this.eat("=")) this.fail("look-ahead, (= …), is not supported", start);
    if (++this.depth > MAX_NESTING) this.fail(`groups are nested more than ${MAX_NESTING} deep`, start);
    const node = this.alternatives();
    if (!this.eat(")")) this.fail("this ( is not closed", start);
    this.depth--;
    return node;
  }

  private set(source: string, start: number): Node {
    let node = this.classes.get(source);
    if (!node) {
      // A class is one of a regular expression but for three escapes.
      const pattern = source.replace(/\\(?:U([\da-fA-F]{8})|(.))/gu, (whole, code?: string, char?: string) =>
        code ? `\\u{${code}}` : char === "e" ? "\\x1b" : char === "a" ? "\\x07" : whole,
      );
      node = regexNode(pattern, this.field, { place: `${source} in ${this.where(start)}` });
      this.classes.set(source, node);
    }
    return node;
  }

  private unescaped(value: string, start: number): string {
    if (!value.includes("\\")) return value;
    return value.replace(ESCAPE, (whole, ...codes: (string | undefined)[]) => {
      const code = codes[0] ?? codes[1] ?? codes[2],
        char = codes[3] ?? "";
      if (code === undefined) {
        if (/[A-Za-z0-9]/.test(char) && !ESCAPED[char]) this.fail(`the escape ${whole} is unknown`, start);
        return ESCAPED[char] ?? char;
      }
      const point = Number.parseInt(code, 16);
      if (point > 0x10ffff || point >> 11 === 0xd800 >> 11) this.fail(`${whole} is no character`, start);
      return String.fromCodePoint(point);
    });
  }

  private refuse(): never {
    const char = String.fromCodePoint(this.source.codePointAt(this.i)!);
    if (char === '"' || char === "'" || char === "[") this.fail(`this ${char} is not closed`);
    if (char === "<" || char === "!") this.fail("tokens, <…>, are not supported; write them as text");
    this.fail(`${char} is not expected`);
  }
}
