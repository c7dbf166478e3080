// Follows answers with real kinds of tokenizers: what a mask allows is what the grammar allows.
/// <reference types="vite/client" />
import { describe, expect, it } from "vitest";
import { ConstrainedGrammar } from "../src/constrain/answer.js";
import { Automaton, accepts } from "../src/constrain/automaton.js";
import {
  chars,
  choice,
  type Grammar,
  type Node,
  optional,
  repeat,
  rule,
  sequence,
  text,
  without,
} from "../src/constrain/grammar.js";
import { compileGrammar } from "../src/constrain/program.js";
import { makeTrie } from "../src/constrain/trie.js";
import { Vocabulary } from "../src/constrain/vocabulary.js";
import { TextTokenizer } from "../src/text/tokenizer.js";
import { randomNumbers } from "./random_texts.js";

interface Fixture {
  tokenizer: Record<string, unknown> & { model: { vocab: object }; added_tokens?: { id: number; special?: boolean }[] };
  encoded: { text: string; ids: number[]; decoded: string }[];
}
const fixtures = Object.entries(
  import.meta.glob<Fixture>("../../tests/fixtures/text/tokenizers/*.json", { eager: true, import: "default" }),
).map(([path, fixture]) => [path.replace(/.*\/|\.json/g, ""), fixture] as const);

const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
const utf8 = (value: string): string => latin1(new TextEncoder().encode(value));
const bits = (mask: Int32Array): number[] => {
  const tokens: number[] = [];
  for (let token = 0; token < mask.length * 32; token++)
    if ((mask[token >> 5]! >>> (token & 31)) & 1) tokens.push(token);
  return tokens;
};

const value: Node = choice(text("null"), text("true"), rule("string"), rule("list"), rule("object"));
const JSON_GRAMMAR: Grammar = {
  start: rule("object"),
  rules: new Map<string, Node>([
    ["value", value],
    ["string", sequence(text('"'), repeat(chars([0x20, 0x21], [0x23, 0x5b], [0x5d, 0x10ffff]), 0, 12), text('"'))],
    [
      "list",
      sequence(text("["), optional(sequence(rule("value"), repeat(sequence(text(", "), rule("value")), 0))), text("]")),
    ],
    [
      "object",
      sequence(
        text('{"name": '),
        rule("string"),
        text(', "größe": '),
        rule("value"),
        text(', "list": '),
        rule("list"),
        text("}"),
      ),
    ],
  ]),
};

describe("a vocabulary's tree", () => {
  it("has every token once, where its bytes lead", () => {
    const words = ["b", "ab", "abc", undefined, "", "a", "abd", "ab", "\xff\x00", "b".repeat(200)];
    const { byte, depth, after, token, alike } = makeTrie(words);
    const found = new Map<number, string>(),
      path: string[] = [];
    for (let node = 0; node < byte.length; node++) {
      path[depth[node]! - 1] = String.fromCharCode(byte[node]!);
      for (let id = token[node]!; id >= 0; id = alike[id]!) found.set(id, path.slice(0, depth[node]!).join(""));
      let end = node + 1;
      while (end < byte.length && depth[end]! > depth[node]!) end++;
      expect(after[node]).toBe(end);
    }
    expect([...found].sort(([a], [b]) => a - b)).toEqual([0, 1, 2, 5, 6, 7, 8].map((id) => [id, words[id]]));
  });
});

describe.each(fixtures)("answers in the tokens of %s", (_, fixture) => {
  const tokenizer = new TextTokenizer(fixture.tokenizer);
  const size = fixture.encoded.reduce((largest, { ids }) => Math.max(largest, ...ids), 0) + 300;
  const known = Array.from({ length: size }, (_, id) => tokenizer.bytes(id));
  const stop = size - 1;
  const vocabulary = new Vocabulary(tokenizer, size, new Set([stop]));
  const spelled = new Set(known.flatMap((token) => (token?.bytes.length === 1 && !token.special ? [token.bytes] : [])));

  it("says what each token adds to a text", () => {
    for (const { ids, decoded } of fixture.encoded) {
      if (decoded.includes("\uFFFD")) continue;
      const plain = ids.filter((id) => !known[id]?.special);
      if (plain.some((id) => known[id] === undefined)) continue;
      const bytes = plain.map((id) => known[id]!.bytes).join("");
      expect([utf8(decoded), utf8(` ${decoded}`)]).toContain(bytes); // a text's first space may be stripped
    }
  });

  it("allows exactly the tokens whose bytes may follow", () => {
    const automaton = new Automaton(compileGrammar(JSON_GRAMMAR));
    for (const before of [
      "",
      '{"na',
      '{"name": "',
      '{"name": "x',
      '{"name": "x", "größe": ',
      '{"name": "", "größe": "ü',
    ]) {
      const state = automaton.follow(automaton.start, utf8(before))!;
      const expected = known.flatMap((token, id) =>
        token && !token.special && token.bytes && automaton.follow(state, token.bytes) ? [id] : [],
      );
      expect(bits(vocabulary.mask(automaton, state, new Map()))).toEqual(expected);
    }
  });

  it("any walk through its masks is a text of the grammar, however long strings may be", () => {
    if (!['"', "{", "}", "[", "]", ":", ",", " ", "a"].every((c) => spelled.has(c))) return;
    const automaton = new Automaton(compileGrammar(JSON_GRAMMAR));
    const grammar = new ConstrainedGrammar(automaton, vocabulary, new Map(), "response_format");
    for (let seed = 1; seed <= 40; seed++) {
      const random = randomNumbers(seed),
        answer = grammar.begin(),
        tokens = [...answer.force()];
      while (tokens.at(-1) !== stop) {
        const allowed = bits(answer.mask());
        // a walk that always opens another list would not end
        const closing = allowed.filter((id) => id === stop || /[\]}"]$/.test(known[id]!.bytes));
        const from = closing.length && (tokens.length > 60 || random() < 0.3) ? closing : allowed;
        const token = from[Math.floor(random() * from.length)]!;
        answer.accept(token);
        tokens.push(token, ...answer.force());
        if (tokens.length > 4000) throw new Error("it does not end");
      }
      const bytes = tokens
        .slice(0, -1)
        .map((id) => known[id]!.bytes)
        .join("");
      expect(
        accepts(
          automaton,
          Uint8Array.from(bytes, (c) => c.charCodeAt(0)),
        ),
        bytes,
      ).toBe(true);
      const { name } = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0))));
      expect([...name].length).toBeLessThanOrEqual(12);
    }
  });

  it("forces what alone can follow, in the tokens of the text", () => {
    const node = sequence(text("abc def abc def "), choice(text("1"), text("2")));
    const automaton = new Automaton(compileGrammar({ start: node, rules: new Map() }));
    const answer = new ConstrainedGrammar(automaton, vocabulary, new Map(), "regex").begin();
    const forced = answer.force();
    const bytes = forced.map((id) => known[id]!.bytes).join("");
    expect("abc def abc def ".startsWith(bytes)).toBe(true);
    const whole = new ConstrainedGrammar(
      new Automaton(compileGrammar({ start: text("abc"), rules: new Map() })),
      vocabulary,
      new Map(),
      "regex",
    ).begin();
    const all = whole.force();
    if (all.length)
      expect([
        all
          .slice(0, -1)
          .map((id) => known[id]!.bytes)
          .join(""),
        all.at(-1),
      ]).toEqual(["abc", stop]);
  });
});

describe("special tokens", () => {
  const codec = {
    bytes: (id: number) =>
      [
        { bytes: "a", special: false },
        { bytes: "<tool>", special: true },
        { bytes: "<end>", special: true },
      ][id],
    specialsIn: (texts: readonly string[]) =>
      new Map([[1, "<tool>"] as const, [2, "<end>"] as const].filter(([, text]) => texts.includes(text))),
    encode: () => [],
  };
  const vocabulary = new Vocabulary(codec, 3, new Set([2]));

  it("stand for the grammar's text where it has them, and for nothing else", () => {
    const automaton = new Automaton(
      compileGrammar({ start: sequence(without("<tool>"), text("<tool>"), text("a")), rules: new Map() }),
    );
    const specials = vocabulary.specialsIn(["<tool>", "<end>"]);
    expect([...specials]).toEqual([[1, "<tool>"]]);
    const answer = new ConstrainedGrammar(automaton, vocabulary, specials, "tools").begin();
    expect(bits(answer.mask())).toEqual([0, 1]);
    answer.accept(0);
    answer.accept(1);
    expect(bits(answer.mask())).toEqual([0]);
    answer.accept(0);
    expect(answer.force()).toEqual([2]);
    const none = new ConstrainedGrammar(automaton, vocabulary, new Map(), "tools").begin();
    expect(bits(none.mask())).toEqual([0]);
  });

  it("stand for text that is not ASCII, such as DeepSeek's", () => {
    const marker = "<\uff5ctool\u2581call\uff5c>";
    const tokenizer = new TextTokenizer({
      added_tokens: [{ id: 1, content: marker, special: true }],
      model: { type: "BPE", vocab: { a: 0, [marker]: 1 }, merges: [] },
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: { type: "ByteLevel" },
    });
    const specials = new Vocabulary(tokenizer, 2, new Set()).specialsIn([`${marker}a`]);
    expect([...specials]).toEqual([[1, utf8(marker)]]);
  });

  it("says so where no token can follow", () => {
    const automaton = new Automaton(compileGrammar({ start: choice(text("b"), text("c")), rules: new Map() }));
    const answer = new ConstrainedGrammar(automaton, vocabulary, new Map(), "response_format.regex").begin();
    expect(() => answer.mask()).toThrow(/response_format.regex.*cannot go on with/);
  });
});
