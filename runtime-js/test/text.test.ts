import { describe, expect, it } from "vitest";
import { BundleError } from "../src/errors.js";
import { StopStrings, StreamDecoder, TextCodec } from "../src/text/index.js";

/** Byte-level BPE without merges: token i is byte i; 256 is a special token. */
function byteTokenizer(): string {
  const plain = [...Array(94).keys()]
    .map((i) => i + 33)
    .concat(
      [...Array(12).keys()].map((i) => i + 161),
      [...Array(82).keys()].map((i) => i + 174),
    );
  const vocab: Record<string, number> = {};
  let extra = 256;
  for (let b = 0; b < 256; b++) vocab[String.fromCharCode(plain.includes(b) ? b : extra++)] = b;
  const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  return JSON.stringify({
    version: "1.0",
    normalizer: null,
    pre_tokenizer: level,
    post_processor: null,
    decoder: level,
    added_tokens: [
      {
        id: 256,
        content: "<|end|>",
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    model: { type: "BPE", unk_token: null, fuse_unk: false, byte_fallback: false, vocab, merges: [] },
  });
}
const TEMPLATE =
  "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}" +
  "{% if add_generation_prompt %}<assistant>{% endif %}";
const codec = TextCodec.parse(
  byteTokenizer(),
  JSON.stringify({ chat_template: TEMPLATE, eos_token: { content: "<|end|>" } }),
);

function stream(decode: (tokens: number[]) => string, tokens: number[]): string[] {
  const decoder = new StreamDecoder(decode);
  return [...tokens.map((t) => decoder.push(t)), decoder.flush()];
}

describe("streaming detokenizer", () => {
  it("holds an emoji back until its last byte", () => {
    const pieces = stream((t) => codec.decode(t), [...new TextEncoder().encode("a😀é!")]);
    expect(pieces).toEqual(["a", "", "", "", "😀", "", "é", "!", ""]);
  });
  it("is the whole text for any text, and shows no half character", () => {
    const text = "naïve 日本語 👩‍👩‍👧 \u{1F1EA}\u{1F1FA} end\n";
    const pieces = stream((t) => codec.decode(t), codec.encode(text, false));
    expect(pieces.join("")).toBe(text);
    expect(pieces.join("|")).not.toContain("\uFFFD");
  });
  it("shows what never became a character only at the end", () => {
    expect(stream((t) => codec.decode(t), [104, 0xf0, 0x9f])).toEqual(["h", "", "", "\uFFFD"]);
    expect(stream((t) => codec.decode(t), [0xff, 104]).join("")).toBe("\uFFFDh");
  });
  it("keeps the spaces of tokenizers that strip the first", () => {
    const words = ["▁Hello", "▁world", "▁again"];
    const decode = (tokens: number[]): string =>
      tokens
        .map((t) => words[t])
        .join("")
        .replaceAll("▁", " ")
        .replace(/^ /, "");
    expect(stream(decode, [0, 1, 2])).toEqual(["Hello", " world", " again", ""]);
  });
  it("joins byte-fallback tokens", () => {
    const bytes = [0xe2, 0x82, 0xac];
    const decode = (tokens: number[]): string => new TextDecoder().decode(Uint8Array.from(tokens, (t) => bytes[t]!));
    expect(stream(decode, [0, 1, 2])).toEqual(["", "", "€", ""]);
  });
  it("passes over special tokens", () => {
    expect(stream((t) => codec.decode(t), [104, 256, 105])).toEqual(["h", "", "i", ""]);
  });
});

describe("stop strings", () => {
  const run = (stops: string[], pieces: string[]): { text: string; stopped: boolean; seen: string[] } => {
    const s = new StopStrings(stops);
    const seen: string[] = [];
    for (const piece of pieces) {
      const { text, stopped } = s.push(piece);
      seen.push(text);
      if (stopped) return { text: seen.join(""), stopped, seen };
    }
    return { text: seen.join("") + s.flush(), stopped: false, seen };
  };
  it("finds one that spans pieces, and never shows its beginning", () => {
    const { text, stopped, seen } = run(["\nUser:"], ["Hello", "\nU", "se", "r: x"]);
    expect([text, stopped]).toEqual(["Hello", true]);
    expect(seen).toEqual(["Hello", "", "", ""]);
  });
  it("shows what only looked like one", () =>
    expect(run(["abc"], ["xab", "d"])).toMatchObject({ text: "xabd", stopped: false, seen: ["x", "abd"] }));
  it("handles a beginning inside a beginning", () =>
    expect(run(["aab"], ["a", "a", "a", "b"])).toMatchObject({ text: "a", stopped: true }));
  it("takes the first of several", () =>
    expect(run(["zz", "b"], ["abzz"])).toMatchObject({ text: "a", stopped: true }));
  it("gives back what was held at the end", () =>
    expect(run(["abc"], ["ab"])).toMatchObject({ text: "ab", stopped: false }));
  it("without any, holds nothing", () => expect(run([], ["a", "b"]).seen).toEqual(["a", "b"]));
});

describe("chat template", () => {
  it("renders roles, special tokens and the generation prompt", () => {
    expect(codec.template.render([{ role: "user", content: "hi" }])).toBe("<user>hi<|end|><assistant>");
    expect(codec.encodeChat([{ role: "user", content: "hi" }])).toEqual([
      ...new TextEncoder().encode("<user>hi"),
      256,
      ...new TextEncoder().encode("<assistant>"),
    ]);
  });
  it("says when a file is broken", () => {
    expect(() => TextCodec.parse("{", "{}")).toThrow(BundleError);
    expect(() => TextCodec.parse(byteTokenizer(), JSON.stringify({ chat_template: "{% for %}" }))).toThrow(
      /chat template/,
    );
    expect(() => TextCodec.parse("{}", "{}")).toThrow(BundleError);
  });
  it("a dialogue, of a model without a template, has what its tokenizer puts before a text", () => {
    const processed = {
      ...(JSON.parse(byteTokenizer()) as object),
      post_processor: {
        type: "TemplateProcessing",
        single: [{ SpecialToken: { id: "<|end|>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
        pair: [],
        special_tokens: {},
      },
    };
    const bare = TextCodec.parse(JSON.stringify(processed), "{}");
    expect(bare.encodeChat([{ role: "user", content: "hi" }])).toEqual([
      256,
      ...new TextEncoder().encode("User: hi\nAssistant:"),
    ]);
  });
});
