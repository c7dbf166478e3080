// Measures what a token of an engine in a worker costs the page's thread:
//   CHROME=/path/to/chromium node bench/worker.mjs [--answers N] ENGINE_DIR BUNDLE_DIR… [-- chromium flags]
// ENGINE_DIR is mlcweb/engine. For each bundle it prints the milliseconds of the page's thread for each token: from the
// beginning of a message's event to the end of all that it sets off, with the page's loop over the chunks. Beside it
// are the tokens a second in the worker and on the page, and the same for a page that waits 50 ms after each chunk.
import { parseArgs } from "node:util";
import { machine, runPage, split, table, VERSION } from "./page.mjs";

const [own, flags] = split(process.argv.slice(2), "--");
const { values, positionals } = parseArgs({
  args: own,
  allowPositionals: true,
  options: { answers: { type: "string", default: "10" } },
});
const [engine, ...bundles] = positionals;
if (!bundles.length) {
  console.error("usage: node bench/worker.mjs [--answers N] ENGINE_DIR BUNDLE_DIR… [-- chromium flags]");
  process.exit(2);
}

// One listener before the engine's and one after it: microtasks run in between.
const script = `
const spent = { ms: 0, messages: 0 };
const { addEventListener } = MessagePort.prototype;
MessagePort.prototype.addEventListener = function (type, ...rest) {
  if (type !== "message") return addEventListener.call(this, type, ...rest);
  let start = 0;
  addEventListener.call(this, type, () => { start = performance.now(); });
  addEventListener.call(this, type, ...rest);
  addEventListener.call(this, type, () => { spent.ms += performance.now() - start; spent.messages++; });
};
const { Engine } = await import("/engine/mlcweb.js");
const { WorkerEngine } = await import("/engine/worker.js");
const code = 'import { serveEngine } from "' + location.origin + '/engine/serve.js"; serveEngine();';
const made = new Blob([code], { type: "text/javascript" });
const worker = new Worker(URL.createObjectURL(made), { type: "module" });
const messages = [{ role: "user", content: "Tell a long story." }];
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const run = async (engine, seed, wait) => {
  Object.assign(spent, { ms: 0, messages: 0 });
  let chunks = 0, speed = 0, tokens = 0;
  const started = performance.now();
  const stream_options = { include_usage: true };
  const request = { messages, seed, max_tokens: wait ? 64 : 256, stream: true, stream_options };
  for await (const { usage } of await engine.chat.completions.create(request)) {
    chunks++;
    if (usage) [tokens, speed] = [usage.completion_tokens, usage.extra.decode_tokens_per_s];
    if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
  }
  return { ms: spent.ms / tokens, messages: spent.messages / tokens, tokens, speed };
};
for (const url of ${JSON.stringify(bundles.map((_, i) => `/bundle${i}/`))}) {
  const options = { cache: false, selfCheck: false };
  const there = await WorkerEngine.load(worker, url, options);
  await run(there, 0);
  const runs = [], slow = [];
  for (let seed = 1; seed <= ${Number(values.answers)}; seed++) runs.push(await run(there, seed));
  for (let seed = 1; seed <= 2; seed++) slow.push(await run(there, seed, 50));
  const { name } = there.info;
  await there.unload();
  const here = await Engine.load(url, options);
  await run(here, 0);
  const local = [];
  for (let seed = 1; seed <= ${Number(values.answers)}; seed++) local.push(await run(here, seed));
  await here.unload();
  const of = (list, key) => median(list.map((one) => one[key]));
  const most = Math.max(...runs.map((one) => one.ms));
  await report({ name, tokens: runs.map((one) => one.tokens), ms: of(runs, "ms"), most,
    messages: of(runs, "messages"), speed: of(runs, "speed"), local: of(local, "speed"), slow: of(slow, "messages") });
}
await report({ browser: ${VERSION} });`;

const rows = [];
console.log(`machine: ${machine()}`);
const folders = { engine, ...Object.fromEntries(bundles.map((bundle, i) => [`bundle${i}`, bundle])) };
await runPage(script, { folders, heard, flags, isolated: true });
const columns = [
  "bundle",
  "page's thread a token",
  "the most of an answer",
  "messages a token",
  "of a slow page",
  "in the worker",
  "on the page",
];
console.log(`\n${table(columns, rows)}`);

function heard(said) {
  if (said.browser) return console.log(`browser: ${said.browser}`);
  const { name, tokens, ms, most, messages, slow, speed, local } = said;
  const speeds = [speed, local].map((value) => `${value.toFixed(0)} tok/s`);
  rows.push([name, ...[ms, most].map((x) => `${x.toFixed(4)} ms`), messages.toFixed(2), slow.toFixed(2), ...speeds]);
  console.log(`${name}: ${tokens.length} answers of ${tokens.join(" ")} tokens`);
}
