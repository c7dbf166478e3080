import { describe, expect, it } from "vitest";
import { Automaton, accepts } from "../src/constrain/automaton.js";
import type { Node } from "../src/constrain/grammar.js";
import { compileGrammar } from "../src/constrain/program.js";
import { type RegexOptions, regexNode } from "../src/constrain/regex.js";
import { InvalidRequestError } from "../src/errors.js";

const FIELD = "response_format.regex";

function matcher(node: Node): (value: string) => boolean {
  const automaton = new Automaton(compileGrammar({ start: node, rules: new Map() }));
  return (value) => accepts(automaton, new TextEncoder().encode(value));
}

const compiled = (pattern: string, options?: RegexOptions) => matcher(regexNode(pattern, FIELD, options));

/** Numbers that only look random, so that a failure comes again: mulberry32. */
function numbers(seed: number): (below: number) => number {
  let a = seed;
  return (below) => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const ATOMS = ["a", "b", "c", ".", "\\d", "\\W", "[ab]", "[^a]", "[b-d1]", "é", "\\u{1F600}", "1", "ab", "(?:)", "\\n"];
const COUNTS = ["*", "+", "?", "{2}", "{0,2}", "{1,3}", "{2,}", "*?", "+?", "{3,4}?", "{0}"];
const LETTERS = ["a", "b", "c", "d", "1", "é", "😀", "\n", " "];

function randomPattern(next: (below: number) => number, depth: number, anchors: boolean): string {
  const branches = Array.from({ length: 1 + next(3) * next(2) }, () => {
    const terms = Array.from({ length: next(4) }, () => {
      const group = depth > 0 && next(3) === 0;
      const atom = group
        ? `(${["", "?:"][next(2)]}${randomPattern(next, depth - 1, anchors)})`
        : ATOMS[next(ATOMS.length)];
      return atom + (next(3) === 0 ? COUNTS[next(COUNTS.length)]! : "");
    });
    const edge = (sign: string): string => (anchors && next(4) === 0 ? sign : "");
    return edge("^") + terms.join("") + edge("$");
  });
  return branches.join("|");
}

const randomText = (next: (below: number) => number): string =>
  Array.from({ length: next(9) }, () => LETTERS[next(LETTERS.length)]).join("");

describe("regexNode", () => {
  it.each([true, false])("matches what RegExp does, anchored %s", (anchored) => {
    const next = numbers(anchored ? 1 : 2),
      counts = { compared: 0, matched: 0, refused: 0 };
    for (let i = 0; i < 1200; i++) {
      const pattern = randomPattern(next, 2, i % 2 === 0);
      const wanted = new RegExp(anchored ? `^(?:${pattern})$` : pattern, "u");
      const texts = Array.from({ length: 15 }, () => randomText(next));
      let matches: (value: string) => boolean;
      try {
        matches = compiled(pattern, { anchored });
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidRequestError);
        expect((error as Error).message).toMatch(/no text matches|a \^ or \$/);
        if (/no text matches/.test((error as Error).message))
          for (const value of texts) expect(wanted.test(value)).toBe(false);
        counts.refused++;
        continue;
      }
      for (const value of texts) {
        if (matches(value) !== wanted.test(value))
          expect.fail(`${pattern} and ${JSON.stringify(value)}: not ${matches(value)}`);
        counts.compared++;
        if (matches(value)) counts.matched++;
      }
    }
    expect(counts.compared).toBeGreaterThan(12_000);
    expect(counts.matched).toBeGreaterThan(500);
    expect(counts.refused).toBeLessThan(400);
  });
});
