// Turns a regular expression (ECMA-262, as with the flag u, and as lenient as without) into a node of a grammar.
import { InvalidRequestError } from "../../errors.js";
import { NOTHING, type Node, type Range, text } from "../grammar.js";
import { anywhere, HEAD, inOrder, oneOf, type Piece, plain, TAIL, times, whole } from "./anchors.js";
import { ANY, complement, DIGIT, NOT_LINE_END, property, SPACE, union, WORD } from "./characters.js";
import { Scanner } from "./scanner.js";
import { isNothing, repeated } from "./simplify.js";

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
/** To find a property's characters takes tens of milliseconds. */
const MAX_PROPERTIES = 16;
const COUNTS = /\{(\d+)(?:(,)(\d*))?\}|[*+?]/y;
const CONTROL: Record<string, number> = { t: 9, n: 10, v: 11, f: 12, r: 13 };
const SETS: Record<string, readonly Range[]> = { d: DIGIT, w: WORD, s: SPACE };
const AROUND: Record<string, string> = {
  "=": "look-ahead",
  "!": "look-ahead",
  "<=": "look-behind",
  "<!": "look-behind",
};

class Parser extends Scanner {
  private readonly properties = new Set<string | undefined>();

  constructor(
    pattern: string,
    field: string,
    private readonly character: (ranges: readonly Range[]) => Node,
    private readonly name: string,
  ) {
    super(pattern, field, MAX_LENGTH);
  }

  parse(): Piece {
    const piece = this.alternatives();
    if (this.i < this.source.length) this.fail("this ) closes nothing");
    return piece;
  }

  protected override place(at: number): string {
    return `at character ${at + 1} of ${this.name}`;
  }

  private point(): number {
    const code = this.source.codePointAt(this.i);
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
    while (this.i < this.source.length && !"|)".includes(this.source[this.i]!)) found.push(this.term());
    return inOrder(found) ?? this.fail("a ^ or $ here has something beside it that may be empty", start);
  }

  private term(): Piece {
    const start = this.i,
      piece = this.atom(),
      counts = this.counts(COUNTS);
    if (!counts) return piece;
    this.eat("?");
    return times(piece, ...counts) ?? this.fail("a ^ or $ is repeated", start);
  }

  private atom(): Piece {
    const start = this.i,
      sign = this.match(COUNTS);
    if (sign) this.fail(`${sign[0]} has nothing before it`, start);
    const code = this.point(),
      char = this.source[start]!;
    if (char === "^") return HEAD;
    if (char === "$") return TAIL;
    if (char === "(") return this.group(start);
    if (char === ".") return this.set(start, () => NOT_LINE_END);
    if (char === "[") return this.set(start, this.charClass(start));
    const found = char === "\\" ? this.escape(false) : code;
    return this.set(start, () => (typeof found === "number" ? [[found, found]] : found));
  }

  /** One character of a set, which was written from `start` on. */
  private set(start: number, ranges: () => readonly Range[]): Piece {
    return plain(
      this.once(start, () => {
        const all = ranges(),
          characters = union(all);
        if (all.length > 0 && characters.length === 0) this.fail("half of a surrogate pair stands alone", start);
        return characters.length ? this.character(characters) : NOTHING;
      }),
    );
  }

  private group(start: number): Piece {
    const kind = this.match(/\?(<?[=!]|<[\p{ID_Continue}$]+>|:|.|$)/uy)?.[1];
    if (kind !== undefined && kind !== ":" && !kind.endsWith(">"))
      this.fail(AROUND[kind] ? `${AROUND[kind]} is not supported` : `(?${kind} is not supported`, start);
    return this.nested(start, () => this.alternatives());
  }

  private charClass(start: number): () => readonly Range[] {
    const negated = this.eat("^"),
      found: (readonly Range[])[] = [];
    const add = (one: number | readonly Range[]): void => {
      found.push(typeof one === "number" ? [[one, one]] : one);
    };
    while (!this.eat("]")) {
      if (this.i >= this.source.length) this.fail("this [ is not closed", start);
      const from = this.member(),
        dash = this.i;
      const isRange = this.eat("-") && this.source[this.i] !== "]" && this.i < this.source.length;
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
    if (char === "0" && !/\d/.test(this.source[this.i] ?? "")) return 0;
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
