// Benchmarks bundles of embeddings on a machine that has a browser and Node, and neither Python nor a package index:
//   CHROME=/path/to/chromium node bench/texts.mjs [--tier NAME] ENGINE_DIR BUNDLE_DIR… [-- chromium flags]
// ENGINE_DIR is mlcweb/engine. For each bundle it prints whether it validates, and medians after a warm-up: a thousand
// texts of 32 tokens and of 128, a thousand pieces of the search page's sentences of about 32 tokens, which the
// tokenizer reads too, and one query alone. The last line is everything as JSON.
import { benchBundles } from "./bundles.mjs";

const USAGE = "usage: node bench/texts.mjs [--tier NAME] ENGINE_DIR BUNDLE_DIR… [-- chromium flags]";
const REPEATS = 5;

const script = (urls, tier) => `
const { Engine, validate } = await import("/engine/mlcweb.js");
const sentences = (await (await fetch("/engine/sentences.txt")).text()).trim().split("\\n");
const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];
for (const url of ${JSON.stringify(urls)}) {
  const engine = await Engine.load(url, { cache: false, selfCheck: false, tier: ${JSON.stringify(tier)} });
  const { ok, max_relative_difference } = await validate(engine);
  const timed = async (input) => {
    const seconds = [];
    let tokens = 0;
    for (let i = 0; i <= ${REPEATS}; i++) {
      const start = performance.now();
      const { usage } = await engine.embeddings.create({ input, encoding_format: "base64", truncate: true });
      if (i > 0) seconds.push((performance.now() - start) / 1000); // the first warms up
      tokens = usage.total_tokens;
    }
    return { texts: input.length, tokens, seconds: median(seconds), all: seconds };
  };
  const { contextLength, model, name, memory, tier } = engine.info;
  const ids = (size) => Array.from({ length: size }, () => Math.floor(Math.random() * model.vocab_size));
  const of = (size) => Array.from({ length: 1000 }, () => ids(Math.min(size, contextLength)));
  const pieces = sentences.map((_, i) => [0, 7, 13].map((k) => sentences[(i + k) % sentences.length]).join(" "));
  const [of32, of128] = [await timed(of(32)), await timed(of(128))];
  const [text, query] = [await timed(pieces), await timed([sentences[0]])];
  await report({ name, tier, memory, ok, max_relative_difference, of32, of128, text, query });
  await engine.unload();
}`;

await benchBundles({
  usage: USAGE,
  script,
  accuracy: ({ max_relative_difference: difference }) => difference.toExponential(1),
  head: ["bundle", "1,000 of 32 tokens", "of 128", "of text", "one query"],
  rows: (result) => [row(result)],
});

function row({ name, of32, of128, text, query }) {
  const each = ({ seconds, tokens }) => `${seconds.toFixed(3)} s, ${(tokens / seconds / 1000).toFixed(0)}k tokens/s`;
  return [name, each(of32), each(of128), each(text), `${(query.seconds * 1000).toFixed(1)} ms`];
}
