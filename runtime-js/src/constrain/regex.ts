// Turns a regular expression (ECMA-262, as with the flag u, and as lenient as without) into a node of a grammar.
import { InvalidRequestError } from "../errors.js";
import { anywhere, HEAD, inOrder, oneOf, type Piece, plain, TAIL, times, whole } from "./anchors.js";
import { ANY, complement, DIGIT, NOT_LINE_END, property, SPACE, union, WORD } from "./characters.js";
import { NOTHING, type Node, type Range, text } from "./grammar.js";
import { isNothing, MOST, repeated } from "./simplify.js";

export interface RegexOptions {
  /** Without, or true: the whole text must match. false: a match may stand anywhere, as of JSON Schema's `pattern`. */
  readonly anchored?: boolean;
  /** How one character of a set is written; without, as itself. */
  readonly character?: (ranges: readonly Range[]) => Node;
  /** What errors call the pattern. */
  readonly place?: string;
}

/**
 * The node that matches what the pattern does. `field` is the request's, for errors.
 * Throws InvalidRequestError for what is no regular expression, for look-around, back references and word boundaries,
 * and for a pattern that no text matches.
 */
export function regexNode(pattern: string, field: string, options: RegexOptions = {}): Node {
  const { anchored = true, character = write, place = "the regular expression" } = options;
  const piece = new Parser(pattern, field, character, place).parse();
  const node = anchored ? whole(piece) : anywhere(piece, repeated(character(ANY), 0, Infinity));
  if (isNothing(node)) throw new InvalidRequestError(field, `no text matches ${place}.`);
  return node;
}

function write(ranges: readonly Range[]): Node {
  const [only, more] = ranges;
  return only && !more && only[0] === only[1] ? text(String.fromCodePoint(only[0])) : { op: "chars", ranges };
}

const MAX_LENGTH = 100_000;
const MAX_NESTING = 200;
/** To find a property's characters takes tens of milliseconds. */
const MAX_PROPERTIES = 16;
const COUNT = /\{(\d+)(?:(,)(\d*))?\}/y;
const CONTROL: Record<string, number> = { t: 9, n: 10, v: 11, f: 12, r: 13 };
const SETS: Record<string, readonly Range[]> = { d: DIGIT, w: WORD, s: SPACE };
const AROUND: Record<string, string> = {
  "=": "look-ahead",
  "!": "look-ahead",
  "<=": "look-behind",
  "<!": "look-behind",
};

class Parser {
  private i = 0;
  private depth = 0;
  /** By source: what is written twice is one node. */
  private readonly nodes = new Map<string, Node>();
  private readonly properties = new Set<string | undefined>();

  constructor(
    private readonly pattern: string,
    private readonly field: string,
    private readonly character: (ranges: readonly Range[]) => Node,
    private readonly place: string,
  ) {}

  parse(): Piece {
    if (this.pattern.length > MAX_LENGTH) this.fail(`it is longer than ${MAX_LENGTH} characters`, MAX_LENGTH);
    const piece = this.alternatives();
    if (this.i < this.pattern.length) this.fail("this ) closes nothing");
    return piece;
  }

  private fail(what: string, at = this.i): never {
    throw new InvalidRequestError(this.field, `at character ${at + 1} of ${this.place}, ${what}.`);
  }

  private eat(token: string): boolean {
    const is = this.pattern.startsWith(token, this.i);
    if (is) this.i += token.length;
    return is;
  }

  private match(regex: RegExp): RegExpExecArray | null {
    regex.lastIndex = this.i;
    const found = regex.exec(this.pattern);
    if (found) this.i = regex.lastIndex;
    return found;
  }

  private point(): number {
    const code = this.pattern.codePointAt(this.i);
    if (code === undefined) this.fail("something is missing");
    this.i += code > 0xffff ? 2 : 1;
    return code;
  }

  private alternatives(): Piece {
    const found = [this.terms()];
    while (this.eat("|")) found.push(this.terms());
    return oneOf(found);
  }

  private terms(): Piece {
    const start = this.i,
      found: Piece[] = [];
    while (this.i < this.pattern.length && !"|)".includes(this.pattern[this.i]!)) found.push(this.term());
    return inOrder(found) ?? this.fail("a ^ or $ here has something beside it that may be empty", start);
  }

  private term(): Piece {
    const start = this.i;
    const piece = this.atom();
    let counts: readonly [min: number, max: number];
    const braces = this.match(COUNT);
    if (braces) {
      const min = +braces[1]!;
      counts = [min, braces[2] ? +(braces[3] || Infinity) : min];
    } else if (this.eat("*")) counts = [0, Infinity];
    else if (this.eat("+")) counts = [1, Infinity];
    else if (this.eat("?")) counts = [0, 1];
    else return piece;
    this.eat("?");
    const [min, max] = counts;
    if (min > max) this.fail(`{${min},${max}} has the larger count first`, start);
    if (min > MOST) this.fail(`it repeats ${min} times, which no answer can`, start);
    return times(piece, min, max > MOST ? Infinity : max) ?? this.fail("a ^ or $ is repeated", start);
  }

  private atom(): Piece {
    const start = this.i,
      char = this.pattern[start]!;
    if (this.match(COUNT)) this.fail("a count has nothing before it", start);
    const code = this.point();
    if (char === "^") return HEAD;
    if (char === "$") return TAIL;
    if (char === "(") return this.group(start);
    if (char === ".") return this.set(start, () => NOT_LINE_END);
    if (char === "[") return this.set(start, this.charClass(start));
    if ("*+?".includes(char)) this.fail(`${char} has nothing before it`, start);
    const found = char === "\\" ? this.escape(false) : code;
    return this.set(start, () => (typeof found === "number" ? [[found, found]] : found));
  }

  /** One character of a set, which was written from `start` on. */
  private set(start: number, ranges: () => readonly Range[]): Piece {
    const source = this.pattern.slice(start, this.i);
    let node = this.nodes.get(source);
    if (!node) {
      const all = ranges(),
        characters = union(all);
      if (all.length > 0 && characters.length === 0) this.fail("half of a surrogate pair stands alone", start);
      node = characters.length ? this.character(characters) : NOTHING;
      this.nodes.set(source, node);
    }
    return plain(node);
  }

  private group(start: number): Piece {
    const kind = this.match(/\?(<?[=!]|<[\p{ID_Continue}$]+>|:|.|$)/uy)?.[1];
    if (kind !== undefined && kind !== ":" && !kind.endsWith(">"))
      this.fail(AROUND[kind] ? `${AROUND[kind]} is not supported` : `(?${kind} is not supported`, start);
    if (++this.depth > MAX_NESTING) this.fail(`groups are nested more than ${MAX_NESTING} deep`, start);
    const piece = this.alternatives();
    if (!this.eat(")")) this.fail("this ( is not closed", start);
    this.depth--;
    return piece;
  }

  private charClass(start: number): () => readonly Range[] {
    const negated = this.eat("^"),
      found: (readonly Range[])[] = [];
    const add = (one: number | readonly Range[]): void => {
      found.push(typeof one === "number" ? [[one, one]] : one);
    };
    while (!this.eat("]")) {
      if (this.i >= this.pattern.length) this.fail("this [ is not closed", start);
      const from = this.member(),
        dash = this.i;
      const isRange = this.eat("-") && this.pattern[this.i] !== "]" && this.i < this.pattern.length;
      const to = isRange ? this.member() : undefined;
      if (typeof from === "number" && typeof to === "number") {
        if (from > to) this.fail("a range of characters has its larger end first", dash);
        found.push([[from, to]]);
        continue;
      }
      add(from);
      if (to !== undefined) {
        add(45);
        add(to);
      } else this.i = dash;
    }
    return () => (negated ? complement(found.flat()) : found.flat());
  }

  private member(): number | readonly Range[] {
    return this.eat("\\") ? this.escape(true) : this.point();
  }

  /** What follows a backslash: a character or a set. */
  private escape(inClass: boolean): number | readonly Range[] {
    const start = this.i - 1,
      code = this.point(),
      char = String.fromCodePoint(code);
    const set = SETS[char.toLowerCase()];
    if (set) return SETS[char] ?? complement(set);
    if (CONTROL[char]) return CONTROL[char];
    if (char === "b" && inClass) return 8;
    if (char === "b" || char === "B") this.fail(`the word boundary \\${char} is not supported`, start);
    if (char === "p" || char === "P") return this.property(char === "P", start);
    if (char === "0" && !/\d/.test(this.pattern[this.i] ?? "")) return 0;
    if (/[\dk]/.test(char)) this.fail("back references are not supported", start);
    if (char === "c") {
      const letter = this.match(/[A-Za-z]/y) ?? this.fail("\\c needs a letter", start);
      return letter[0].charCodeAt(0) % 32;
    }
    if (char === "x" || char === "u") return this.hex(char, start);
    if (/[A-Za-z]/.test(char)) this.fail(`\\${char} is not supported`, start);
    return code;
  }

  private hex(char: string, start: number): number {
    const digits =
      char === "x"
        ? this.match(/([\da-f]{2})/iy)
        : (this.match(/\{0*([\da-f]{1,6})\}/iy) ?? this.match(/([\da-f]{4})/iy));
    const code = digits ? Number.parseInt(digits[1]!, 16) : Infinity;
    if (code > 0x10ffff) this.fail(`\\${char} needs the hexadecimal digits of a code point`, start);
    if (code >> 10 !== 0xd800 >> 10) return code;
    const low = this.match(/\\u(d[c-f][\da-f]{2})/iy);
    return low ? 0x10000 + ((code & 0x3ff) << 10) + (Number.parseInt(low[1]!, 16) & 0x3ff) : code;
  }

  private property(negated: boolean, start: number): readonly Range[] {
    const name = this.match(/\{(\w+(?:=\w+)?)\}/y)?.[1];
    if (this.properties.add(name).size > MAX_PROPERTIES) this.fail(`more than ${MAX_PROPERTIES} \\p are used`, start);
    const ranges = name === undefined ? undefined : property(name);
    if (!ranges) this.fail(`\\p names no property of characters: ${name ?? "{…} is missing"}`, start);
    return negated ? complement(ranges) : ranges;
  }
}
