// What bench/peers/transformers.mjs asks and tells of texts.

export const TEXTS = {
  help: `embeddings of lists of tokens, and of the search page's sentences, three in a text
  --texts N        how many (1000; on the CPU 200; in software 4)
  --tokens N       tokens in a list (32; in software 16)
  --batch N        how many Transformers.js gets at once; without it the fastest of 32, 128, 512 and all`,
  page: { file: "texts.js", run: "compareTexts" },
  defaults: { texts: 1000, tokens: 32, batch: undefined },
  software: { repeats: 1, texts: 4, tokens: 16 },
  cpu: { repeats: 3, texts: 200 },
  told({ settings: { texts, tokens, repeats } }) {
    const turns = repeats === 1 ? "one turn" : `medians of ${repeats} turns`;
    return `${texts} lists of ${tokens} tokens, then ${texts} texts; ${turns} after a warm-up`;
  },
  head: [
    ...["model", "size", "load", "batch", "runs", "lists", "tokens/s", "ours is", "texts", "ours is"],
    ...["least cosine to ours", "to another's"],
  ],
  rows({ settings: { texts, tokens }, bytes, measured }) {
    const [ours] = measured;
    return measured.map((one) => [
      one.name,
      `${(bytes[one.name] / 1e6).toFixed(0)} MB`,
      `${one.load_s.toFixed(2)} s`,
      one.batch === undefined ? "-" : String(one.batch),
      String(one.runs),
      `${one.tokens_s.toFixed(3)} s`,
      `${((texts * tokens) / one.tokens_s / 1000).toFixed(1)}k`,
      `${(one.tokens_s / ours.tokens_s).toFixed(2)} x`,
      `${one.texts_s.toFixed(3)} s`,
      `${(one.texts_s / ours.texts_s).toFixed(2)} x`,
      one.least_cosine.toFixed(6),
      one.mean_cosine_of_others.toFixed(3),
    ]);
  },
};
