// Benchmarks bundles of embeddings on a machine that has a browser and Node, and neither Python nor a package index:
//   CHROME=/path/to/chromium node bench/texts.mjs [--tier NAME] ENGINE_DIR BUNDLE_DIR… [-- chromium flags]
// ENGINE_DIR is mlcweb/engine. For each bundle it prints whether it validates, and medians after a warm-up: a thousand
// texts of 32 tokens and of 128, a thousand pieces of the search page's sentences of about 32 tokens, which the
// tokenizer reads too, and one query alone. The last line is everything as JSON.
import { parseArgs } from "node:util";
import { machine, runPage, split, table, VERSION } from "./page.mjs";

const USAGE = "usage: node bench/texts.mjs [--tier NAME] ENGINE_DIR BUNDLE_DIR… [-- chromium flags]";
const REPEATS = 5;
const [own, flags] = split(process.argv.slice(2), "--");
const { engine, bundles, tier } = options();

const script = `
const { Engine, validate } = await import("/engine/mlcweb.js");
const sentences = (await (await fetch("/engine/sentences.txt")).text()).trim().split("\\n");
const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];
for (const url of ${JSON.stringify(bundles.map((_, i) => `/bundle${i}/`))}) {
  const engine = await Engine.load(url, { cache: false, tier: ${JSON.stringify(tier)} });
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
}
await report({ browser: ${VERSION} });`;

const results = [];
let failed = false;
console.log(`machine: ${machine()}`);
try {
  const folders = { engine, ...Object.fromEntries(bundles.map((bundle, i) => [`bundle${i}`, bundle])) };
  await runPage(script, { folders, heard, flags });
} catch (error) {
  failed = true;
  console.error(error.message);
}
const measured = results.filter((result) => result.name);
if (measured.length)
  console.log(`\n${table(["bundle", "1,000 of 32 tokens", "of 128", "of text", "one query"], measured.map(row))}`);
console.log(JSON.stringify(results));
process.exitCode = failed ? 1 : 0;

function heard(result) {
  results.push(result);
  if (result.browser) return console.log(`browser: ${result.browser}`);
  failed ||= result.ok !== true;
  const difference = result.max_relative_difference.toExponential(1);
  const megabytes = (result.memory.total / 1e6).toFixed(0);
  console.log(
    `${result.name}: tier ${result.tier}, GPU memory ${megabytes} MB, validates: ${result.ok} (${difference})`,
  );
}

function row({ name, of32, of128, text, query }) {
  const each = ({ seconds, tokens }) => `${seconds.toFixed(3)} s, ${(tokens / seconds / 1000).toFixed(0)}k tokens/s`;
  return [name, each(of32), each(of128), each(text), `${(query.seconds * 1000).toFixed(1)} ms`];
}

function options() {
  try {
    const {
      values: { tier },
      positionals: [engine, ...bundles],
    } = parseArgs({ args: own, allowPositionals: true, options: { tier: { type: "string" } } });
    if (engine && bundles.length) return { engine, bundles, tier };
  } catch (error) {
    console.error(error.message);
  }
  console.error(USAGE);
  process.exit(2);
}
