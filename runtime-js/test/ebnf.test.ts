import { describe, expect, it } from "vitest";
import { Automaton, accepts } from "../src/constrain/automaton.js";
import { ebnfGrammar } from "../src/constrain/ebnf.js";
import { compileGrammar } from "../src/constrain/program.js";
import { InvalidRequestError } from "../src/errors.js";

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
