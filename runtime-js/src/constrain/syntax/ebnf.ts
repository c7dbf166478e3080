// Turns EBNF, as xgrammar (WebLLM's `grammar`) and llama.cpp (GBNF) write it, into a grammar.
import { InvalidRequestError } from "../../errors.js";
import { type Grammar, type Node, rule, text } from "../grammar.js";
import { productive } from "../productive.js";
import { ANY } from "./characters.js";
import { withoutLeftRecursion } from "./recursion.js";
import { regexNode } from "./regex.js";
import { Scanner } from "./scanner.js";
import { either, joined, repeated } from "./simplify.js";

/**
 * The grammar of which `root` is the start. `field` is the request's, for errors.
 * Throws InvalidRequestError for what is no EBNF, for rules that are missing or never end, and for rules that begin
 * with themselves by way of others.
 */
export function ebnfGrammar(source: string, field: string): Grammar {
  const rules = new Parser(source, field, MAX_LENGTH).parse();
  const grammar = productive({ start: rule("root"), rules });
  if (!grammar) throw new InvalidRequestError(field, "the rule root has no text that it ends with.");
  return withoutLeftRecursion(grammar, field);
}

const MAX_LENGTH = 1_000_000;
const BLANK = /(?:\s+|#.*)*/y;
const NAME = /[\w-]+(?:\.[\w-]+)*/y;
const DEFINITION = /([\w-]+(?:\.[\w-]+)*)\s*::=/y;
const LITERAL = /"([^"\\\r\n]*(?:\\.[^"\\\r\n]*)*)"|'([^'\\\r\n]*(?:\\.[^'\\\r\n]*)*)'/y;
const CLASS = /\[[^\]\\\r\n]*(?:\\.[^\]\\\r\n]*)*\]/y;
const COUNTS = /\{\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}|[*+?]/y;
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

class Parser extends Scanner {
  private readonly rules = new Map<string, Node>();
  /** Where each name is first used. */
  private readonly uses = new Map<string, number>([["root", 0]]);

  parse(): ReadonlyMap<string, Node> {
    for (this.match(BLANK); this.i < this.source.length; this.match(BLANK)) {
      const start = this.i,
        name = this.match(DEFINITION)?.[1] ?? this.fail("a rule (name ::= …) is expected");
      if (this.rules.has(name)) this.fail(`the rule ${name} is there a second time`, start);
      this.rules.set(name, this.alternatives());
    }
    for (const [name, at] of this.uses) if (!this.rules.has(name)) this.fail(`the rule ${name} is missing`, at);
    return this.rules;
  }

  protected override place(at: number): string {
    return `in line ${this.source.slice(0, at).split("\n").length} of the grammar`;
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
    let node = this.item();
    for (;;) {
      this.match(BLANK);
      const counts = this.counts(COUNTS);
      if (!counts) return node;
      node = repeated(node, ...counts);
    }
  }

  private item(): Node {
    const start = this.i;
    if (this.eat("(=")) this.fail("look-ahead, (= …), is not supported", start);
    if (this.eat("(")) return this.nested(start, () => this.alternatives());
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

  /** A class is one of a regular expression but for three escapes. */
  private set(source: string, start: number): Node {
    const pattern = source.replace(/\\(?:U([\da-fA-F]{8})|(.))/gu, (whole, code?: string, char?: string) =>
      code ? `\\u{${code}}` : char === "e" ? "\\x1b" : char === "a" ? "\\x07" : whole,
    );
    return this.once(start, () => regexNode(pattern, this.field, { place: `${source} ${this.place(start)}` }));
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
