import { describe, expect, it } from "vitest";
import { Automaton, accepts } from "../src/constrain/automaton.js";
import { chars, type Node, type Range, sequence, text } from "../src/constrain/grammar.js";
import { compileGrammar } from "../src/constrain/program.js";
import { type RegexOptions, regexNode } from "../src/constrain/syntax/regex.js";
import { InvalidRequestError } from "../src/errors.js";
import { randomNumbers } from "./random_texts.js";

const FIELD = "response_format.regex";

function matcher(node: Node): (value: string) => boolean {
  const automaton = new Automaton(compileGrammar({ start: node, rules: new Map() }));
  return (value) => accepts(automaton, new TextEncoder().encode(value));
}

const compiled = (pattern: string, options?: RegexOptions) => matcher(regexNode(pattern, FIELD, options));

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
    const random = randomNumbers(anchored ? 1 : 2),
      next = (below: number): number => Math.floor(random() * below),
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

  it.each([
    ["\\x41\\u0042\\u{43}\\cA\\0\\t\\v\\f\\r\\-\\/\\.", "ABC\u0001\0\t\v\f\r-/."],
    ["\\uD83D\\uDE00+", "😀😀"],
    ["[\\b\\]^-]{4}", "\b]^-"],
    ["[^]]*x{,5}{a}]", "\n]]x{,5}{a}]"],
    ["(?<year>\\d{4})-(?:0[1-9]|1[0-2])", "2026-11"],
    ["[\\w-.]+@[a-z\\d-]+", "a-b.c@d-e"],
    ["^\\s+$", " \u00a0\u2028\ufeff\t"],
    ["[\\p{Lu}\\p{Script=Greek}]+\\P{L}", "ÄΩω1"],
    ["[^\\D5]+", "1234"],
    ["(((a*)*)*b?)*", "aabab"],
    ["((a?){3}){0,2}c", "aaaaac"],
    ["^a|^b$", "b"],
    ["\\$\\{[^}]*\\}", "$\u007bx}"],
  ])("takes %s", (pattern, value) => {
    const matches = compiled(pattern);
    expect(matches(value)).toBe(true);
    expect(matches(`${value}!`)).toBe(false);
    expect(matches("")).toBe(new RegExp(`^(?:${pattern})$`).test(""));
  });

  it("agrees with RegExp on every character of classes", () => {
    for (const pattern of ["\\d", "\\W", "\\s", ".", "[^\\S\\d]", "\\p{Sc}", "[^\\p{L}\\p{M}]", "\\p{scx=Thai}"]) {
      const matches = compiled(pattern),
        wanted = new RegExp(`^${pattern}$`, "u");
      for (let code = 0; code < 0x11000; code += code < 0x3100 ? 1 : 97) {
        if (code >= 0xd800 && code < 0xe000) continue;
        const value = String.fromCodePoint(code);
        expect(matches(value), `${pattern} ${code.toString(16)}`).toBe(wanted.test(value));
      }
    }
  });

  it("writes characters as it is told to", () => {
    const character = (ranges: readonly Range[]): Node => sequence(text("<"), chars(...ranges), text(">"));
    const matches = compiled("a.$", { anchored: false, character });
    expect(matches("<a><b>")).toBe(true);
    expect(matches("<x><\n><a><b>")).toBe(true);
    expect(matches("<a><b><c>")).toBe(false);
    expect(matches("ab")).toBe(false);
  });

  it.each([
    ["a(?=b)", "character 2 of the regular expression, look-ahead is not supported"],
    ["(?!b)", "look-ahead"],
    ["(?<=b)a", "look-behind"],
    ["(?<!b)a", "look-behind"],
    ["(?i)a", "(?i is not supported"],
    ["(a)\\1", "back references"],
    ["(?<n>a)\\k<n>", "back references"],
    ["\\bfoo\\b", "the word boundary \\b"],
    ["\\Bfoo", "the word boundary \\B"],
    ["foo\\Z", "\\Z is not supported"],
    ["a**", "* has nothing before it"],
    ["+", "+ has nothing before it"],
    ["a|{2}", "{2} has nothing before it"],
    ["(a", "this ( is not closed"],
    ["a)", "this ) closes nothing"],
    ["[a", "this [ is not closed"],
    ["[a-", "this [ is not closed"],
    ["[z-a]", "larger end first"],
    ["a{3,2}", "{3,2} has the larger count first"],
    ["a{99999999999}", "more than an answer can have"],
    ["\\", "something is missing"],
    ["\\x4", "\\x needs"],
    ["\\u{110000}", "\\u needs"],
    ["\\c1", "\\c needs"],
    ["\\uD83D", "surrogate"],
    ["\\p{Nonsense}", "Nonsense"],
    ["\\pL", "{…} is missing"],
    ["(^a)*", "a ^ or $ is repeated"],
    ["a*^b", "may be empty"],
    ["a^b", "no text matches"],
    ["[]", "no text matches"],
    ["(".repeat(100_000), "groups are nested more than 200 deep"],
    ["a".repeat(1_000_000), "is longer than 100000 characters"],
  ])("refuses case %#", (pattern, message) => {
    expect(() => regexNode(pattern, FIELD)).toThrow(InvalidRequestError);
    expect(() => regexNode(pattern, FIELD)).toThrow(message);
  });

  it.each([
    ["(a+)+b", "a".repeat(5000), "b"],
    ["(a{1,500}){1,500}", "a".repeat(5000), ""],
    ["a{1,1000000000}", "a".repeat(5000), ""],
    [`${"(".repeat(200)}a*${")*".repeat(200)}`, "a".repeat(5000), "a"],
    ["(a|a|aa)*(a|aa)*c", "a".repeat(5000), "c"],
    ["a".repeat(99_999), "a".repeat(99_998), "a"],
    [`${"a*".repeat(1000)}b`, "a".repeat(5000), "b"],
  ])("is not slow at case %#", (pattern, start, end) => {
    const matches = compiled(pattern);
    expect(matches(start + end)).toBe(true);
    expect(matches(`${start}!`)).toBe(false);
  });
});
