import { describe, expect, it } from "vitest";
import { Automaton, accepts, TooAmbiguousError } from "../src/constrain/automaton.js";
import {
  chars,
  choice,
  EMPTY,
  type Grammar,
  NOTHING,
  type Node,
  optional,
  repeat,
  rule,
  sequence,
  text,
  without,
} from "../src/constrain/grammar.js";
import { compileGrammar } from "../src/constrain/program.js";

const grammar = (start: Node, rules: Record<string, Node> = {}): Grammar => ({
  start,
  rules: new Map(Object.entries(rules)),
});
const automatonOf = (start: Node, rules?: Record<string, Node>): Automaton =>
  new Automaton(compileGrammar(grammar(start, rules)));
const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);

function check(automaton: Automaton, good: readonly string[], bad: readonly string[]): void {
  for (const one of good) expect(accepts(automaton, bytes(one)), JSON.stringify(one)).toBe(true);
  for (const one of bad) expect(accepts(automaton, bytes(one)), JSON.stringify(one)).toBe(false);
}

describe("the automaton of a grammar", () => {
  it("takes texts, sequences and choices", () => {
    const automaton = automatonOf(sequence(text("a"), choice(text("bc"), text("b"), EMPTY, NOTHING), text("é")));
    check(automaton, ["abcé", "abé", "aé"], ["", "a", "abc", "abcéx", "é"]);
  });

  it("takes repeats in repeats without end, sixty deep", () => {
    const nested = (depth: number, min: number): Node =>
      depth === 0 ? text("a") : sequence(repeat(nested(depth - 1, min), min), text("b"));
    const least = (depth: number): string => (depth === 0 ? "a" : `${least(depth - 1).repeat(3)}b`);
    check(automatonOf(nested(60, 1)), [`aa${"b".repeat(60)}`], ["a", `a${"b".repeat(59)}`]);
    check(automatonOf(nested(4, 3)), [least(4)], [least(4).slice(1), least(4).slice(0, -1), least(3)]);
    expect(accepts(automatonOf(nested(60, 3)), bytes(least(3)))).toBe(false);
    const three = automatonOf(repeat(sequence(repeat(text("a"), 2), text("b")), 3));
    check(three, ["aabaabaab", "aaabaabaaaabaab"], ["aabaab", "aabaabab", "aabaabaa"]);
  });

  it("takes one of thousands of texts that begin alike", () => {
    const names = Array.from({ length: 20_000 }, (_, i) => text(`"name ${i}é"`));
    const automaton = automatonOf(sequence(choice(...names, EMPTY, text('"name 7')), text("!")));
    check(automaton, ['"name 19999é"!', '"name 7!', "!"], ['"name 20000é"!', '"name 7', '"name 8!']);
  });

  it("counts a repeat's items rightly where two readings meet", () => {
    const twos = automatonOf(repeat(choice(text("a"), text("aa")), 3, 3));
    check(twos, ["aaa", "aaaa", "aaaaaa"], ["a", "aa", "aaaaaaa"]);
    const any = repeat(chars([97, 122]), 0);
    check(automatonOf(sequence(any, chars([97, 122]), repeat(text("c"), 3, 4))), ["accc", "xaccccc"], ["acc", "ccc"]);
  });

  it("takes code points of ranges, and nothing near them", () => {
    const ranges = [
      [0x41, 0x43],
      [0x7f, 0x80],
      [0x7fe, 0x801],
      [0xd000, 0xe001],
      [0xfffe, 0x10001],
      [0x10ffff, 0x10ffff],
    ] as const;
    const automaton = automatonOf(chars(...ranges));
    const edges = ranges.flatMap(([from, to]) => [from - 1, from, from + 1, to - 1, to, to + 1]);
    for (const code of [...edges, 0, 0xd7ff, 0xe000]) {
      if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) continue;
      const inside = ranges.some(([from, to]) => code >= from && code <= to);
      expect(accepts(automaton, bytes(String.fromCodePoint(code))), code.toString(16)).toBe(inside);
    }
    expect(accepts(automaton, new Uint8Array([0xed, 0xa0, 0x80])), "a surrogate").toBe(false);
    expect(accepts(automaton, new Uint8Array([0xc0, 0x80])), "an overlong form").toBe(false);
  });

  it.each([
    [0, 0],
    [0, 1],
    [1, 1],
    [0, 3],
    [2, 5],
    [3, 3],
    [0, Infinity],
    [1, Infinity],
    [4, Infinity],
  ])("repeats from %i to %i times", (min, max) => {
    const automaton = automatonOf(sequence(repeat(text("ab"), min, max), text("!")));
    for (let n = 0; n < 9; n++)
      expect(accepts(automaton, bytes(`${"ab".repeat(n)}!`)), `${n}`).toBe(n >= min && n <= max);
  });

  it("counts items of several lengths, in repeats of repeats, and items that may be empty", () => {
    const either = automatonOf(repeat(choice(text("a"), text("aa")), 2, 3));
    check(either, ["aa", "aaa", "aaaaaa"], ["a", "aaaaaaa"]);
    const nested = automatonOf(repeat(sequence(repeat(text("a"), 2, 3), text(";")), 2, 2));
    check(nested, ["aa;aaa;"], ["aa;", "a;aa;", "aa;aa;aa;", "aaaa;aa;"]);
    const empty = automatonOf(sequence(repeat(optional(text("a")), 3, 5), text("!")));
    check(empty, ["!", "a!", "aaaaa!"], ["aaaaaa!"]);
    const loops = automatonOf(repeat(repeat(optional(text("a")), 0), 0));
    check(loops, ["", "aaaa"], ["b"]);
  });

  it("counts to a thousand million without a state for each", () => {
    const program = compileGrammar(grammar(sequence(repeat(text("a"), 1000, 1_000_000_000), text("!"))));
    expect(program.edges.length).toBeLessThan(20);
    const automaton = new Automaton(program);
    check(automaton, [`${"a".repeat(1000)}!`, `${"a".repeat(5000)}!`], [`${"a".repeat(999)}!`]);
  });

  it("calls rules, also within themselves", () => {
    const rules = {
      value: choice(text("x"), sequence(text("["), optional(rule("list")), text("]"))),
      list: sequence(rule("value"), repeat(sequence(text(","), rule("value")), 0)),
    };
    const automaton = automatonOf(rule("value"), rules);
    const deep = `${"[".repeat(10_000)}x${"]".repeat(10_000)}`;
    check(automaton, ["x", "[]", "[x,[x,[]]]", deep], ["[", "[x,]", "[x]]", `${deep}]`]);
  });

  it("does not remember what a rule that calls itself last has no need of", () => {
    const automaton = automatonOf(rule("s"), { s: choice(text("."), sequence(text("a"), rule("s"))) });
    let state = automaton.step(automaton.start, 97)!;
    for (let i = 0; i < 5; i++) state = automaton.step(state, 97)!;
    expect(automaton.step(state, 97)).toBe(state);
  });

  it("takes any text without some texts, which may begin and be broken off", () => {
    const automaton = automatonOf(sequence(without("<tool>", "</"), text("<tool>"), without("x"), text("x")));
    check(
      automaton,
      ["<tool>x", "a <too <t<tool>é<x", "<<tool>x"],
      ["<tool>", "a</<tool>x", "<tool>xx", "<tool><tool>"],
    );
    check(automatonOf(without("aab", "b")), ["", "aaaa", "ac"], ["aab", "cb"]);
  });

  it("says which byte alone can follow", () => {
    const automaton = automatonOf(sequence(text('{"a": '), choice(text("1"), text("12"))));
    let state = automaton.start,
      forced = "";
    for (let byte = automaton.onlyByte(state); byte >= 0; byte = automaton.onlyByte(state)) {
      forced += String.fromCharCode(byte);
      state = automaton.step(state, byte)!;
    }
    expect(forced).toBe('{"a": 1');
    expect(state.complete).toBe(true);
  });

  it("keeps states alike where a token cannot tell the counts apart", () => {
    const program = compileGrammar(grammar(sequence(repeat(text("a"), 30, 100), text("!"))));
    const automaton = new Automaton(program, 8);
    const states = [automaton.start];
    for (let i = 0; i < 100; i++) states.push(automaton.step(states.at(-1)!, 97)!);
    const alike = states.map((state) => state.alike);
    expect(new Set(alike.slice(0, 21)).size).toBe(1);
    expect(new Set(alike.slice(30, 91)).size).toBe(1);
    expect(new Set(alike.slice(20, 31)).size).toBe(10);
    expect(new Set(alike.slice(91)).size).toBe(10);
  });

  it("refuses to follow a text that can be read in too many ways", () => {
    const s = choice(text("a"), sequence(text("a"), rule("s"), rule("s")));
    const automaton = automatonOf(rule("s"), { s });
    expect(() => accepts(automaton, bytes("a".repeat(10_000)))).toThrow(TooAmbiguousError);
  });

  it("forgets states when there are many, and goes on", () => {
    const automaton = automatonOf(rule("s"), { s: choice(text("x"), sequence(text("("), rule("s"), text(")"))) });
    let state = automaton.start;
    for (let i = 0; i < 25_000; i++) state = automaton.renew(automaton.step(state, 40)!);
    state = automaton.step(state, 120)!;
    for (let i = 0; i < 25_000; i++) state = automaton.renew(automaton.step(state, 41)!);
    expect(state.complete).toBe(true);
    expect(automaton.step(state, 41)).toBeNull();
  });
});
