// Makes an engine of a model that reads whole texts, without a GPU. A word is a token, whose id is its length; a text's
// numbers are its tokens' sum, their count, its first token's type and its last one's.
import type { EmbeddingFacts, RerankingFacts } from "../src/contract/index.js";
import { Guard } from "../src/device/index.js";
import { Texts } from "../src/embed/texts.js";
import { Engine } from "../src/engine/index.js";
import type { Loaded } from "../src/engine/load.js";
import type { Typed } from "../src/text/post_processor.js";

export const EMBEDDING: EmbeddingFacts = {
  dimensions: 4,
  pooling: "mean",
  normalized: false,
  similarity: "dot",
  matryoshka: [2, 4],
};
const CLS = 90,
  SEP = 91;

export function openTexts(facts: { embedding?: EmbeddingFacts; reranking?: RerankingFacts }): Engine {
  const manifest = { name: "fake", model: {}, tiers: [{ name: "base" }], ...facts };
  const codec = {
    encode: (text: string) => (text.match(/\S+/g) ?? []).map((word) => word.length),
    decode: (tokens: readonly number[]) => tokens.join(" "),
  };
  const around = {
    one: [
      [[CLS], 0],
      [0, 0],
      [[SEP], 0],
    ],
    two: [
      [[CLS], 0],
      [0, 0],
      [[SEP], 0],
      [1, 1],
      [[SEP], 1],
    ],
  } as never;
  const model = {
    async run(texts: Iterable<Typed>, check: (done: number) => void): Promise<Float32Array[]> {
      const rows: Float32Array[] = [];
      for (const { tokens, types } of texts) {
        await new Promise((resolve) => setTimeout(resolve));
        const sum = tokens.reduce((a, b) => a + b, 0);
        const row = Float32Array.of(sum, tokens.length, types[0]!, types.at(-1)!);
        rows.push(facts.reranking ? row.subarray(1, 2) : row);
        check(rows.length);
      }
      return rows;
    },
  };
  const backend = { name: "fake", codec, around, limit: 12, vocabSize: 100, model };
  const watched = { lost: new Promise(() => {}), addEventListener() {}, destroy() {} };
  const loaded = {
    base: "https://fake.example/",
    manifest,
    tier: { name: "base" },
    adapter: { vendor: "fake", description: "" },
    guard: new Guard(watched as never),
    memory: { use: {}, destroy() {} },
    codec,
    contextLength: 12,
    texts: new Texts({ embedding: undefined, reranking: undefined, ...backend, ...facts } as never),
  } as unknown as Loaded;
  return new (Engine as unknown as new (loaded: Loaded, depth: number, options: object) => Engine)(loaded, 4, {});
}
