// Benchmarks answers under a JSON Schema on a machine that has a browser and Node, and nothing else:
//   CHROME=/path/to/chromium node bench/structured.mjs [--answers N] [--out FILE] ENGINE_DIR BUNDLE_DIR… [-- flags]
// ENGINE_DIR is mlcweb/engine. For each bundle it prints the medians of decoding with a schema of 30 fields and without
// it, in turn, and their ratio; what the first constrained answer waits for; and, with --answers, how many of N answers
// at temperature 1.5 JSON.parse takes. FILE gets them, for `python -m bench.structured FILE`, which validates each.
import fs from "node:fs";
import { parseArgs } from "node:util";
import { machine, runPage, split, table, VERSION } from "./page.mjs";

const REPEATS = 5;
const TOKENS = 256;
const TEXT = { type: "string", maxLength: 60 };
const KINDS = [
  TEXT,
  { type: "integer", minimum: 0, maximum: 100000 },
  { type: "number" },
  { type: "boolean" },
  { enum: ["low", "medium", "high", null] },
  { type: "array", items: { type: "string", maxLength: 20 }, maxItems: 3 },
];
const NAMES = (
  "name email title summary street city country phone company role age height weight score price active verified " +
  "subscribed priority level status tags skills languages notes code year month rating comment"
).split(" ");
const properties = Object.fromEntries(NAMES.map((name, i) => [name, KINDS[i % KINDS.length]]));
const schema = { type: "object", properties, required: NAMES, additionalProperties: false };

const [own, flags] = split(process.argv.slice(2), "--");
const { values, positionals } = options();
const answers = Number(values.answers ?? 0);
const [engine, ...bundles] = positionals;
const script = `
const messages = [{ role: "user", content: "Invent a person and write all that you know as JSON." }];
const response_format = { type: "json_schema", json_schema: { name: "person", schema: ${JSON.stringify(schema)} } };
const { Engine } = await import("/engine/mlcweb.js");
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
for (const url of ${JSON.stringify(bundles.map((_, i) => `/bundle${i}/`))}) {
  const options = { cache: false, selfCheck: false, contextLength: 2048 };
  const engine = await Engine.load(new URL(url, location.href).href, options);
  const ask = async (more) => {
    const started = performance.now();
    const answer = await engine.chat.completions.create({ messages, temperature: 1, ...more });
    const [{ message, finish_reason }] = answer.choices;
    const { completion_tokens: tokens, extra } = answer.usage;
    return { text: message.content, finish_reason, tokens, speed: extra.decode_tokens_per_s,
      first: extra.time_to_first_token_s * 1000, ms: performance.now() - started };
  };
  const cold = await ask({ seed: 1, max_tokens: 8 });
  const first = await ask({ seed: 1, max_tokens: 8, response_format });
  const free = [], held = [];
  for (let i = 0; i < ${REPEATS}; i++) {
    free.push(await ask({ seed: i, max_tokens: ${TOKENS} }));
    held.push(await ask({ seed: i, max_tokens: ${TOKENS}, response_format }));
  }
  const wide = free.filter(({ tokens }) => tokens > 100);
  const texts = [];
  let tokens = 0;
  const began = performance.now();
  for (let seed = 0; seed < ${answers}; seed++) {
    const answer = await ask({ seed, temperature: 1.5, response_format });
    texts.push({ seed, text: answer.text, finish_reason: answer.finish_reason });
    tokens += answer.tokens;
  }
  const speeds = (list) => median(list.map(({ speed }) => speed));
  await report({
    name: engine.info.name, tier: engine.info.tier, free: speeds(wide.length ? wide : free), held: speeds(held),
    cold: cold.first, first: first.first, again: median(held.map((a) => a.first)),
    lengths: [free, held].map((list) => list.map((a) => a.tokens)), texts, tokens,
    seconds: (performance.now() - began) / 1000,
  });
  await engine.unload();
}
await report({ browser: ${VERSION} });`;

const COLUMNS = ["bundle", "decode", "under the schema", "ratio", "first token", "the first under it", "later"];
const rows = [];
const kept = { schema, answers: {} };
console.log(`machine: ${machine()}`);
const folders = { engine, ...Object.fromEntries(bundles.map((bundle, i) => [`bundle${i}`, bundle])) };
await runPage(script, { folders, heard, flags });
if (rows.length) console.log(`\n${table(COLUMNS, rows)}`);
if (values.out) fs.writeFileSync(values.out, JSON.stringify(kept));

function heard(said) {
  if (said.browser) return console.log(`browser: ${said.browser}`);
  const { name, tier, free, held, cold, first, again, lengths, texts, tokens, seconds } = said;
  const speed = (value) => `${value.toFixed(0)} tok/s`;
  const ms = (value) => `${value.toFixed(0)} ms`;
  rows.push([name, speed(free), speed(held), (held / free).toFixed(2), ms(cold), ms(first), ms(again)]);
  const counts = lengths.map((list) => list.join(" ")).join(" tokens, and of ");
  console.log(`${name}: tier ${tier}, medians of ${REPEATS} answers of ${counts}`);
  if (!texts.length) return;
  kept.answers[name] = texts;
  const ended = texts.filter((answer) => answer.finish_reason === "stop");
  const read = ended.filter(({ text }) => {
    try {
      return JSON.parse(text) !== undefined;
    } catch {
      return false;
    }
  });
  console.log(
    `  ${texts.length} answers at temperature 1.5: ${ended.length} ended, ${read.length} of them JSON; ` +
      `${tokens} tokens in ${seconds.toFixed(1)} s, first tokens included`,
  );
}

function options() {
  const parsed = parseArgs({
    args: own,
    allowPositionals: true,
    options: { answers: { type: "string" }, out: { type: "string" } },
  });
  if (parsed.positionals.length < 2) {
    console.error(
      "usage: node bench/structured.mjs [--answers N] [--out FILE] ENGINE_DIR BUNDLE_DIR… [-- chromium flags]",
    );
    process.exit(2);
  }
  return parsed;
}
