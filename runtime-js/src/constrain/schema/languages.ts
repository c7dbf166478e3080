// Strings: what stands between the quotes, as JSON writes it, for lengths, patterns, formats and their complements.
import { Automaton, accepts } from "../automaton.js";
import { chars, choice, type Node, type Range, repeat, sequence, text } from "../grammar.js";
import { compileGrammar } from "../program.js";
import { regexNode } from "../syntax/regex.js";
import { FORMATS } from "./formats.js";
import type { StringForm } from "./forms.js";
import type { Define } from "./numbers.js";
import { productNode } from "./product.js";

const RAW: readonly Range[] = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0x10ffff],
];
const SHORT: ReadonlyMap<number, string> = new Map([
  [0x22, '\\"'],
  [0x5c, "\\\\"],
  [8, "\\b"],
  [9, "\\t"],
  [10, "\\n"],
  [12, "\\f"],
  [13, "\\r"],
]);
const CODES = [0x22, 0x5c, ...Array(32).keys()];
/** What JSON must escape: all that a string can hold otherwise is written as itself. */
const ESCAPED = sequence(
  text("\\"),
  choice(
    chars(...[...'"\\bfnrt'].map((c) => [c.charCodeAt(0), c.charCodeAt(0)] as const)),
    sequence(text("u00"), chars([48, 49]), chars([48, 57], [65, 70], [97, 102])),
  ),
);
const ANY = choice(chars(...RAW), ESCAPED);

/** One character of the ranges, as a JSON string has it. */
export function character(ranges: readonly Range[]): Node {
  const raw = ranges.flatMap(([from, to]) =>
    RAW.map(([a, b]) => [Math.max(a, from), Math.min(b, to)] as const).filter(([a, b]) => a <= b),
  );
  const codes = CODES.filter((code) => ranges.some(([from, to]) => code >= from && code <= to));
  const escapes = codes.map((code) => text(SHORT.get(code) ?? `\\u${code.toString(16).padStart(4, "0")}`));
  const parts = codes.length === CODES.length ? [ESCAPED] : escapes;
  if (raw.length) parts.unshift(chars(...raw));
  return parts.length === 1 ? parts[0]! : choice(...parts);
}

const bytes = (value: string) => new TextEncoder().encode(value);
const plain = (ranges: readonly Range[]): Node => chars(...ranges);

type Refuse = (keyword: string, why: string) => Error;

export class Languages {
  /** Set when a text was refused for its format, which might have it all the same: expressions leave out rare texts. */
  doubted = false;
  private readonly automata = new Map<string, Automaton>();

  /** Whether the pattern is found in the text. */
  matches(pattern: string, value: string): boolean {
    return this.accepts(`p${pattern}`, value, () => regexNode(pattern, "pattern", { anchored: false }));
  }

  admits(form: StringForm, value: string): boolean {
    const formal = (format: string) =>
      this.accepts(`f${format}`, value, () => regexNode(FORMATS.get(format)!, "format"));
    const admitted = form.formats.every(formal);
    if (!admitted) this.doubted = true;
    return admitted && this.fits(form, value);
  }

  private fits({ min, max, patterns, unlike, except }: StringForm, value: string): boolean {
    const length = [...value].length;
    return (
      length >= min &&
      length <= max &&
      !except.includes(value) &&
      patterns.every((pattern) => this.matches(pattern, value)) &&
      !unlike.some((pattern) => this.matches(pattern, value))
    );
  }

  /** What may stand between the quotes. `name` is a prefix for rules. */
  contents(form: StringForm, name: string, define: Define, refuse: Refuse): Node {
    const { min, max, patterns, unlike, formats } = form;
    const except = form.except.filter((value) => this.admits({ ...form, except: [] }, value));
    const expressions = [
      ...patterns.map((pattern) => ({ source: pattern, anchored: false })),
      ...formats.map((format) => ({ source: FORMATS.get(format)!, anchored: true })),
    ];
    const node = ({ source, anchored }: (typeof expressions)[number], write: (ranges: readonly Range[]) => Node) =>
      regexNode(source, "pattern", { anchored, character: write });
    const more = unlike.length + except.length;
    const keyword = patterns.length + unlike.length ? "pattern" : formats.length ? "format" : "not";
    if (expressions.length + more === 0) return repeat(ANY, min, max);
    if (expressions.length === 1 && more === 0 && min === 0 && max === Infinity)
      return node(expressions[0]!, character);
    return productNode(
      {
        like: expressions.map((expression) => node(expression, plain)),
        unlike: [
          ...unlike.map((source) => node({ source, anchored: false }, plain)),
          ...(except.length ? [choice(...except.map(text))] : []),
        ],
        min,
        max,
      },
      character,
      name,
      define,
      () => refuse(keyword, "is not supported together with what else the schema says of the string: too many states."),
    );
  }

  private accepts(key: string, value: string, node: () => Node): boolean {
    let automaton = this.automata.get(key);
    if (!automaton) {
      automaton = new Automaton(compileGrammar({ start: node(), rules: new Map() }));
      this.automata.set(key, automaton);
    }
    return accepts(automaton, bytes(value));
  }
}
