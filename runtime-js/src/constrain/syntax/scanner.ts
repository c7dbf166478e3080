// Reads source text from left to right, for parsers of grammars and of regular expressions.
import { InvalidRequestError } from "../../errors.js";
import type { Node } from "../grammar.js";
import { MOST } from "./simplify.js";

const MAX_NESTING = 200;
const SIGNS: Record<string, readonly [min: number, max: number]> = {
  "*": [0, Infinity],
  "+": [1, Infinity],
  "?": [0, 1],
};

export abstract class Scanner {
  protected i = 0;
  private depth = 0;
  /** By source: what is written twice is one node. */
  private readonly nodes = new Map<string, Node>();

  /** `field` is the request's that has the source. */
  constructor(
    protected readonly source: string,
    protected readonly field: string,
    longest: number,
  ) {
    if (source.length > longest) throw new InvalidRequestError(field, `is longer than ${longest} characters.`);
  }

  /** What errors say of a place. */
  protected abstract place(at: number): string;

  protected fail(what: string, at = this.i): never {
    throw new InvalidRequestError(this.field, `${this.place(at)}, ${what}.`);
  }

  protected eat(token: string): boolean {
    const is = this.source.startsWith(token, this.i);
    if (is) this.i += token.length;
    return is;
  }

  /** The expression, which is sticky, at this place. */
  protected match(regex: RegExp): RegExpExecArray | null {
    regex.lastIndex = this.i;
    const found = regex.exec(this.source);
    if (found) this.i = regex.lastIndex;
    return found;
  }

  /** What is in a parenthesis, which has been read. */
  protected nested<T>(start: number, parse: () => T): T {
    if (++this.depth > MAX_NESTING) this.fail(`groups are nested more than ${MAX_NESTING} deep`, start);
    const found = parse();
    if (!this.eat(")")) this.fail("this ( is not closed", start);
    this.depth--;
    return found;
  }

  /** The counts of *, +, ? or {n,m}, of which `regex` has n, the comma and m. */
  protected counts(regex: RegExp): readonly [min: number, max: number] | undefined {
    const start = this.i,
      found = this.match(regex);
    if (!found) return undefined;
    const [sign, least, comma, most] = found,
      min = +least!;
    const counts = SIGNS[sign] ?? [min, comma ? +(most || Infinity) : min];
    if (counts[0] > counts[1]) this.fail(`${sign} has the larger count first`, start);
    if (counts[0] > MOST) this.fail(`${sign} is more than an answer can have`, start);
    return counts[1] > MOST ? [counts[0], Infinity] : counts;
  }

  protected once(start: number, make: () => Node): Node {
    const source = this.source.slice(start, this.i);
    let node = this.nodes.get(source);
    if (!node) {
      node = make();
      this.nodes.set(source, node);
    }
    return node;
  }
}
