import { describe, expect, it } from "vitest";
import { Automaton, accepts, TooAmbiguousError } from "../src/constrain/automaton.js";
import { compileGrammar } from "../src/constrain/program.js";
import { ebnfGrammar } from "../src/constrain/syntax/ebnf.js";
import { InvalidRequestError } from "../src/errors.js";
import { randomNumbers } from "./random_texts.js";

const FIELD = "response_format.grammar";

function compiled(source: string): (value: string) => boolean {
  const automaton = new Automaton(compileGrammar(ebnfGrammar(source, FIELD)));
  return (value) => accepts(automaton, new TextEncoder().encode(value));
}

function check(source: string, good: readonly string[], bad: readonly string[]): void {
  const matches = compiled(source);
  for (const value of good) expect(matches(value), JSON.stringify(value)).toBe(true);
  for (const value of bad) expect(matches(value), JSON.stringify(value)).toBe(false);
}

// A JSON grammar as is written for llama.cpp: rules over several lines, comments, counted repeats.
const JSON_GRAMMAR = String.raw`
# JSON
root   ::= ws value
value  ::= (object | array | string | number |
            "true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value      # the first
    ("," ws string ":" ws value)*
  )? "}"
array  ::= "[" ws ( value ("," ws value)* )? "]"
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}) )* "\""
number ::= "-"? ([0-9] | [1-9] [0-9]{0,15}) ("." [0-9]+)? ([eE] [-+]? [0-9]+)?
ws ::= | " " | "\n" [ \t]{0,20}
`;

/** The texts of up to 5 letters that each rule derives: sets that grow until they do not. */
function derive(rules: readonly (readonly [string, readonly (readonly string[])[]])[]): Map<string, Set<string>> {
  const known = new Map(rules.map(([name]) => [name, new Set<string>()]));
  for (let before = -1, size = 0; size !== before; ) {
    before = size;
    size = 0;
    for (const [name, items] of rules) {
      for (const item of items) {
        let texts = new Set([""]);
        for (const part of item) {
          const ends = known.get(part) ?? [part[1]!];
          texts = new Set([...texts].flatMap((start) => [...ends].map((end) => start + end)));
          for (const one of texts) if (one.length > 5) texts.delete(one);
        }
        for (const one of texts) known.get(name)!.add(one);
      }
      size += known.get(name)!.size;
    }
  }
  return known;
}

describe("ebnfGrammar", () => {
  it("takes llama.cpp's JSON grammar", () => {
    const values = [{}, [], 'é😀"\\\n', [1, -2.5e-7, { a: null, b: [true, false] }], { "": { "": [[[]]] } }];
    const good = values.map((value) => JSON.stringify(value));
    check(JSON_GRAMMAR, [...good, '{ "a": "\\u00e9" }'], ["", "{", "[1,]", "01", '"\n"', '{"a" 1}', "nul", '"\\x"']);
    for (const value of good) expect(compiled(JSON_GRAMMAR)(value.slice(0, -1))).toBe(false);
  });

  it("takes rules that begin with themselves", () => {
    const good = ["1", "1+2", "1+2*3-4/5", "(1+(2))*3", "10"];
    const bad = ["", "+1", "1+", "(1", "1+(2*)", "1 2"];
    const factor = 'factor ::= [0-9]+ | "(" expr ")"';
    check(`root ::= expr\nexpr ::= expr [+-] term | term\nterm ::= term [*/] factor | factor\n${factor}`, good, bad);
    check(`root ::= expr\nexpr ::= expr "+" expr | expr [*/-] expr | expr | factor\n${factor}`, good, bad);
    check('root ::= root "a" | root "b" "c" | "x"', ["x", "xa", "xbcaabc"], ["", "a", "xb", "xx"]);
    check('root ::= root "a" |', ["", "a", "aaa"], ["b"]);
  });

  it.each<[string, string[], string[]]>([
    ['root ::= "a" \'b"\' "\'"', ["ab\"'"], ["ab"]],
    [String.raw`root ::= "\x41\u00e9\U0001F600\n\t\\\"\e" '\''`, ["Aé😀\n\t\\\"\x1b'"], ["A"]],
    [String.raw`root ::= [\x41-\x43\u00e9\U0001F600\n\]\\^-]{9}`, ["ACé😀\n]\\^-"], ["DACé😀\n]\\^"]],
    [String.raw`root ::= [^a-z\d]`, ["A", "é", "\n"], ["a", "5", ""]],
    [String.raw`root ::= "\\U0001F600" [\\U0]+`, ["\\U0001F600\\U0"], ["😀\\"]],
    ['root ::= . "x" .', ["axb", "\nx😀"], ["ax", "axbc"]],
    ['root ::= "a"{2} "b" {1,2} "c"{2,} "d" ?', ["aabccd", "aabbcccc"], ["abcc", "aabbbcc", "aabc"]],
    ['root ::= a.b c-d e_2\na.b::="1"\nc-d ::= "2"\r\ne_2 ::= "3" |\n  "4"', ["123", "124"], ["12"]],
    ['root ::= (("a" | ) ("b" | ))* "c"', ["c", "abc", "bbaac"], ["ab", ""]],
    ['root ::= (ws){3} "a"\nws ::= " "*', ["a", "      a"], [" "]],
    ['root ::= ("a" "b"?)+?', ["", "ab", "aab"], ["b"]],
    ['root ::= "a" root? "b"', ["ab", "aaabbb"], ["aab", ""]],
    ['root ::= "" | "yes" | never\nnever ::= "no" never', ["", "yes"], ["no", "nono"]],
    ['root ::= "a" # "b"\n  "c"', ["ac"], ["abc", "a"]],
  ])("takes %j", check);

  it.each([
    ["", "the rule root is missing"],
    ['main ::= "a"', "the rule root is missing"],
    ['root ::= "a"\n  item', "line 2 of the grammar, the rule item is missing"],
    ['root ::= "a"\nroot ::= "b"', "line 2 of the grammar, the rule root is there a second time"],
    ["root ::= root", "no text that it ends with"],
    ['root ::= "a" root', "no text that it ends with"],
    ["root ::= a\na ::= b\nb ::= a", "no text that it ends with"],
    ['root ::= a "x" | "y"\na ::= root "z" | "w"', "the rule root may begin with itself, by way of a"],
    ['root ::= " "* root "a" | "b"', "the rule root may begin with itself"],
    ['root ::= ws root "a" | "b"\nws ::= " "?', "the rule root may begin with itself"],
    ['root ::= ("a"', "this ( is not closed"],
    ['root ::= "a")', "a rule (name ::= …) is expected"],
    ['root ::= "a', 'this " is not closed'],
    ["root ::= [a", "this [ is not closed"],
    ['root ::= "a" *\n+\n= "b"', "line 3 of the grammar, = is not expected"],
    ['root = "a"', "a rule (name ::= …) is expected"],
    ['root ::= "\\q"', "the escape \\q is unknown"],
    ['root ::= "\\uD800"', "\\uD800 is no character"],
    ['root ::= "a"\n | [z-a]', "character 3 of [z-a] in line 2 of the grammar, a range"],
    ['root ::= "a"{3,2}', "{3,2}"],
    ["root ::= <think> .*", "tokens, <…>, are not supported"],
    ['root ::= "a" (= "b")', "look-ahead"],
    ['root ::= TagDispatch(("a", b))\nb ::= "b"', ", is not expected"],
    [`root ::= ${"(".repeat(100_000)}`, "nested more than 200 deep"],
    ["#".repeat(2_000_000), "is longer than 1000000 characters"],
  ])("refuses case %#", (source, message) => {
    expect(() => ebnfGrammar(source, FIELD)).toThrow(InvalidRequestError);
    expect(() => ebnfGrammar(source, FIELD)).toThrow(message);
  });

  it("agrees with what random rules derive", () => {
    const random = randomNumbers(3),
      next = (below: number): number => Math.floor(random() * below),
      counts = { texts: 0, matched: 0, refused: 0, ambiguous: 0 };
    const all = [""];
    for (let i = 0; i < all.length && all[i]!.length < 5; i++) all.push(`${all[i]}a`, `${all[i]}b`);
    for (let i = 0; i < 1500; i++) {
      const symbol = (): string => ["root", "r1", "r2", '"a"', '"b"', '"b"'][next(6)]!;
      const sequence = (): string[] => Array.from({ length: next(8) === 0 ? 0 : 1 + next(3) }, symbol);
      const rules = ["root", "r1", "r2"].map((name) => [name, Array.from({ length: 1 + next(3) }, sequence)] as const);
      const source = rules.map(([name, items]) => `${name} ::= ${items.map((one) => one.join(" ")).join(" | ")}`);
      const derived = derive(rules).get("root")!;
      let matches: (value: string) => boolean;
      try {
        matches = compiled(source.join("\n"));
      } catch (error) {
        expect((error as Error).message).toMatch(/may begin with itself|no text that it ends with/);
        if (/no text/.test((error as Error).message)) expect(derived.size).toBe(0);
        counts.refused++;
        continue;
      }
      // Some rules can read five letters in thousands of ways, which the automaton refuses to follow.
      const ambiguous = all.some((value) => {
        try {
          matches(value);
          return false;
        } catch (error) {
          expect(error).toBeInstanceOf(TooAmbiguousError);
          return true;
        }
      });
      counts.ambiguous += ambiguous ? 1 : 0;
      for (const value of ambiguous ? [] : all) {
        if (matches(value) !== derived.has(value)) expect.fail(`${source.join("\n")}\n${value}: ${matches(value)}`);
        counts.texts++;
        if (derived.has(value)) counts.matched++;
      }
    }
    expect(counts.texts).toBeGreaterThan(20_000);
    expect(counts.matched).toBeGreaterThan(1000);
    expect(counts.refused).toBeLessThan(700);
    expect(counts.ambiguous).toBeLessThan(15);
  });

  it("is not slow at large grammars", () => {
    const chain = Array.from({ length: 20_000 }, (_, i) => `r${i} ::= r${i + 1} "a"`).join("\n");
    expect(ebnfGrammar(`root ::= r0\n${chain}\nr20000 ::= "b"`, FIELD).rules.size).toBe(20_002);
    const words = Array.from({ length: 30_000 }, (_, i) => `"word${i}"`).join(" | ");
    expect(compiled(`root ::= ${words}`)("word29999")).toBe(true);
    const loops = `root ::= ${'("a" ("b" ('.repeat(60)}"c"${")*)+ | )*".repeat(60)}`;
    check(loops, ["", "ab", `${"ab".repeat(500)}c`], ["a", "b", "aab", "ababc"]);
    expect(ebnfGrammar(`root ::= "a"${" ".repeat(900_000)}`, FIELD).rules.size).toBe(1);
    expect(ebnfGrammar(`root ::= "${"a".repeat(900_000)}"`, FIELD).rules.size).toBe(1);
    expect(ebnfGrammar(`root ::= "a"${"\n#x".repeat(300_000)}`, FIELD).rules.size).toBe(1);
  });
});
