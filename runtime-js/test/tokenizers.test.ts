// Compares the engine's ids and texts with those of Python's `tokenizers`, for a small tokenizer of every kind
// (tests/fixtures/text/make_tokenizers.py writes them).
/// <reference types="vite/client" />
import { describe, expect, it } from "vitest";
import { Inputs } from "../src/embed/inputs.js";
import { correctEncoder } from "../src/text/encoders.js";
import { StreamDecoder, TextCodec } from "../src/text/index.js";
import { readPostProcessor } from "../src/text/post_processor.js";
import { TextTokenizer } from "../src/text/tokenizer.js";
import { randomNumbers } from "./random_texts.js";

interface Fixture {
  tokenizer: Record<string, unknown> & { model: { vocab: object } };
  encoded: { text: string; ids: number[]; with_special: number[]; decoded: string; decoded_special: string }[];
  decoded: { ids: number[]; decoded: string }[];
}
const fixtures = Object.entries(
  import.meta.glob<Fixture>("../../tests/fixtures/text/{tokenizers,encoders}/*.json", {
    eager: true,
    import: "default",
  }),
).map(([path, fixture]) => [path.replace(/.*\/|\.json/g, ""), fixture] as const);

describe.each(fixtures)("%s", (_, fixture) => {
  const tokenizer = new TextTokenizer(fixture.tokenizer, correctEncoder);

  it("has the ids of the reference, with special tokens and without", () => {
    const actual = fixture.encoded.map(({ text }) => ({
      text,
      ids: tokenizer.encode(text, false),
      with_special: tokenizer.encode(text, true),
    }));
    expect(actual).toEqual(fixture.encoded.map(({ text, ids, with_special }) => ({ text, ids, with_special })));
  });

  it("streams the text of any ids whole, and shows a character when it is complete", () => {
    const size = fixture.encoded.reduce((largest, { ids }) => Math.max(largest, ...ids), 0) + 8; // a few are no token
    for (let seed = 1; seed <= 150; seed++) {
      const random = randomNumbers(seed);
      const ids = Array.from({ length: 1 + Math.floor(random() * 24) }, () => Math.floor(random() * size));
      expect(streamed(tokenizer, ids).join(""), ids.join()).toBe(tokenizer.decode(ids, true));
    }
    for (const { ids, decoded } of fixture.encoded) {
      const pieces = streamed(tokenizer, ids);
      expect(pieces.join("")).toBe(decoded);
      if (!decoded.includes("\uFFFD")) expect(pieces.join("|")).not.toContain("\uFFFD");
    }
  });

  it("has the text of the reference", () => {
    const actual = fixture.encoded.map(({ ids }) => ({
      ids,
      decoded: tokenizer.decode(ids, true),
      decoded_special: tokenizer.decode(ids, false),
    }));
    expect(actual).toEqual(
      fixture.encoded.map(({ ids, decoded, decoded_special }) => ({ ids, decoded, decoded_special })),
    );
    expect(fixture.decoded.map(({ ids }) => ({ ids, decoded: tokenizer.decode(ids, true) }))).toEqual(fixture.decoded);
  });
});

describe("edges", () => {
  const [llama2, gpt2] = ["llama2", "gpt2"].map(
    (name) => new TextTokenizer(fixtures.find(([actual]) => actual === name)![1].tokenizer),
  ) as [TextTokenizer, TextTokenizer];
  it("takes half a surrogate pair for U+FFFD", () => {
    for (const tokenizer of [llama2, gpt2]) {
      expect(tokenizer.encode("a\uD83D b\uDE00", true)).toEqual(tokenizer.encode("a\uFFFD b\uFFFD", true));
      expect(tokenizer.decode(tokenizer.encode("\uD83D\uDE00", false), true)).toBe("\u{1F600}");
    }
  });
  it("gives ids beyond the vocabulary no text", () => {
    for (const tokenizer of [llama2, gpt2])
      expect(tokenizer.decode([99_999, ...tokenizer.encode("a", false), 99_999], true)).toBe("a");
  });
  it("keeps the space that begins a continuation, and strips the one that begins a text", () => {
    const before = llama2.encode("The language of", true);
    const ids = llama2.encode("the browser", false);
    expect(llama2.decode(ids, true)).toBe("the browser");
    expect(streamed(llama2, ids).join("")).toBe("the browser");
    expect(streamed(llama2, ids, before).join("")).toBe(" the browser");
    expect(streamed(gpt2, gpt2.encode(" the browser", false), gpt2.encode("The language of", true)).join("")).toBe(
      " the browser",
    );
  });
  it("shows a single token with its space", () => {
    for (const name of ["llama2", "gemma", "gpt2", "unigram"]) {
      const { tokenizer, encoded } = fixtures.find(([actual]) => actual === name)![1];
      const codec = TextCodec.parse(JSON.stringify(tokenizer), "{}");
      const { ids, text } = encoded.find((e) => e.text === "The languages of the browser: compile, render, run.")!;
      const special = name === "gpt2" ? "<|endoftext|>" : "</s>";
      expect(
        ids
          .map((id) => codec.token(id))
          .join("")
          .trimStart(),
      ).toBe(text);
      if (name !== "gemma") expect(codec.token(codec.encode(special, false)[0]!)).toBe(special);
    }
  });
  it("refuses a way of splitting that is not known", () => {
    const pre_tokenizer = { type: "Split", pattern: { String: "-" }, behavior: "Sideways", invert: false };
    expect(() => new TextTokenizer({ ...fixtures[0]![1].tokenizer, pre_tokenizer })).toThrow(/Sideways/);
  });
  it("splits by every behaviour", () => {
    const model = {
      type: "BPE",
      unk_token: "?",
      vocab: Object.fromEntries(["?", "a", "b", "-"].map((token, id) => [token, id])),
      merges: [] as string[],
    };
    const merged = ["--", "a-", "-b", "a--", "--b", "-a"].map((token, i) => [token, i + 4] as const);
    for (const [token, id] of merged) (model.vocab as Record<string, number>)[token] = id;
    const cut = (step: object): string[] => {
      const tokenizer = new TextTokenizer({
        model: { ...model, ignore_merges: true },
        pre_tokenizer: step,
        normalizer: null,
        decoder: null,
        post_processor: null,
        added_tokens: [],
      });
      return tokenizer.encode("a--b", false).map((id) => Object.keys(model.vocab)[id]!);
    };
    const by = (behavior: string, invert = false): string[] =>
      cut({ type: "Split", pattern: { String: "-" }, behavior, invert });
    expect(by("Isolated")).toEqual(["a", "-", "-", "b"]);
    expect(by("Contiguous")).toEqual(["a", "--", "b"]);
    expect(by("MergedWithPrevious")).toEqual(["a-", "-", "b"]);
    expect(by("MergedWithNext")).toEqual(["a", "-", "-b"]);
    expect(by("merged_with_next")).toEqual(["a", "-", "-b"]);
    expect(by("Removed")).toEqual(["a", "b"]);
    expect(by("Removed", true)).toEqual(["-", "-"]);
    expect(by("Isolated", true)).toEqual(["a", "-", "-", "b"]);
    expect(cut({ type: "Punctuation", behavior: "Contiguous" })).toEqual(["a", "--", "b"]);
    expect(cut({ type: "Punctuation" })).toEqual(["a", "-", "-", "b"]);
    expect(cut({ type: "Whitespace" })).toEqual(["a", "--", "b"]);
  });
});

function streamed(tokenizer: TextTokenizer, ids: readonly number[], before: readonly number[] = []): string[] {
  const stream = new StreamDecoder((tokens) => tokenizer.decode(tokens, true), before);
  return [...ids.map((id) => stream.push(id)), stream.flush()];
}

// What the compiler makes of tokens that other files than tokenizer.json name (tests/fixtures/text/make_added.py).
interface Added {
  model: object;
  cases: Record<string, { encoded: { text: string; ids: number[] }[]; completed: Record<string, unknown> }>;
}
const { model, cases } = Object.values(
  import.meta.glob<Added>("../../tests/fixtures/text/added.json", { eager: true, import: "default" }),
)[0]!;

it.each(Object.entries(cases))("has transformers' ids: %s", (_, { encoded, completed }) => {
  const tokenizer = new TextTokenizer({ ...completed, model });
  expect(encoded.map(({ text }) => ({ text, ids: tokenizer.encode(text, false) }))).toEqual(encoded);
});

// Special tokens around texts and pairs, their types, and how they are cut (tests/fixtures/text/make_pairs.py).
interface Pairs {
  tokenizer: string;
  whose: string;
  post_processor?: object | null;
  encoded: { texts: string[]; most: number | null; ids: number[]; types: number[] }[];
}
const pairs = Object.values(
  import.meta.glob<Pairs[]>("../../tests/fixtures/text/pairs.json", { eager: true, import: "default" }),
)[0]!;

it.each(pairs.map((one) => [`${one.tokenizer}, ${one.whose}`, one] as const))(
  "has the reference's pairs: %s",
  (_, { tokenizer: name, encoded, ...own }) => {
    const definition = { ...fixtures.find(([actual]) => actual === name)![1].tokenizer, ...own };
    const codec = TextCodec.parse(JSON.stringify(definition), "{}", correctEncoder);
    const around = readPostProcessor(codec.postProcessor as Record<string, unknown> | null);
    const rules = { codec, around, vocabSize: 1000 };
    const actual = encoded.map(({ texts, most }) => {
      const { tokens, types } = new Inputs({ ...rules, limit: most ?? Infinity }, true).read(texts);
      return { texts, most, ids: tokens, types };
    });
    expect(actual).toEqual(encoded);
  },
);
