// Benchmarks bundles on a machine that has a browser and Node, and neither Python nor a package index (a GPU box):
//   CHROME=/path/to/chromium node bench/remote.mjs [options] ENGINE_DIR BUNDLE_DIR… [-- chromium flags]
// ENGINE_DIR is mlcweb/engine. For each bundle it prints whether it validates, the medians of load, prefill and decode
// after a warm-up, and the times by which the engine chose a prefill. The table compares with the last bundle how many
// bytes of weights decoding reads a second. The last line is everything as JSON.
// --choices loads each bundle so many times instead, keeps nothing, and prints what each load timed and chose.
// --profile writes DIR/<bundle>.profile.json instead, which `mlcweb bench --from` shows and draws. GPU_NAME names the
// GPU in both.
import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { machine, runPage, split, table, VERSION } from "./page.mjs";

const USAGE =
  "usage: node bench/remote.mjs [--profile DIR | --choices LOADS] [--tier NAME] [--activations float|int8|matrix] " +
  "ENGINE_DIR BUNDLE_DIR… [-- chromium flags]";
const [own, flags] = split(process.argv.slice(2), "--");
const { profile: profiles, choices, engine, bundles, choice } = options();
const RUNS = [
  { prefill: 512, decode: 128, context: 512, repeats: 5 },
  { prefill: 2048, decode: 64, context: 3900, repeats: 3 },
];
const COLUMNS = [
  "bundle",
  "decode at 512",
  "at 3900",
  "weights read in decode",
  "to the last",
  "prefill of 512",
  "of 2048",
  "first token at 2048",
  "load",
  "load again",
];
const MEASURE = `
  const validation = await mlcweb.validate(), runs = [];
  for (const options of ${JSON.stringify(RUNS)}) runs.push(await mlcweb.bench(options));
  const { info, ...loads } = loaded;
  await report({ url, info, loads, validation, runs });`;
const PROFILE = `
  const profile = await mlcweb.profile();
  if (profile.error) { await report({ url, error: profile.error }); continue; }
  await report({ url, info: loaded.info, profile, browser: ${VERSION} });`;
const CHOICES = `
  for (let load = 1; load <= ${choices}; load++) {
    const uncached = ${JSON.stringify({ ...choice, cache: false })};
    const { info, error } = load === 1 ? loaded : await mlcweb.load(url, uncached);
    const { name, activations: used, timings } = info ?? {};
    await report(error ? { url, error } : { url, load, name, used, timings });
  }`;
const LOAD =
  profiles || choices
    ? `mlcweb.load(url, ${JSON.stringify({ ...choice, cache: false, profile: Boolean(profiles) })})`
    : `mlcweb.benchLoad(url, ${JSON.stringify(choice)})`;
const script = `
for (const url of ${JSON.stringify(bundles.map((_, i) => `/bundle${i}/`))}) {
  const loaded = await ${LOAD};
  if (loaded.error) { await report({ url, error: loaded.error }); continue; }
  ${profiles ? PROFILE : choices ? CHOICES : MEASURE}
}
const { features } = await navigator.gpu.requestAdapter();
await report({ browser: ${VERSION}, features: [...features] });`;

const results = [];
const rows = [];
let failed = false;
const folders = { engine, ...Object.fromEntries(bundles.map((bundle, i) => [`bundle${i}`, bundle])) };
console.log(`machine: ${machine()}`);
try {
  // Chromium rounds timestamps without this flag.
  await runPage(`await import("/engine/harness.js");${script}`, {
    folders,
    heard,
    flags: [...(profiles ? ["--enable-webgpu-developer-features"] : []), ...flags],
  });
} catch (error) {
  failed = true;
  console.error(error.message);
}
if (rows.length) console.log(`\n${table(COLUMNS, compared())}`);
if (!profiles) console.log(JSON.stringify(results));
process.exitCode = failed ? 1 : 0;

function heard(result) {
  results.push(result);
  if (result.features) return console.log(`browser: ${result.browser}; adapter features: ${result.features.join(" ")}`);
  if (result.error) {
    failed = true;
    return console.error(`${result.url}: ${result.error.message}`);
  }
  if (result.load) return showChoice(result);
  return profiles ? keep(result) : show(result);
}

function showChoice({ load, name, used, timings }) {
  if (load === 1) console.log(`${name}:`);
  console.log(`  load ${load} in ${timings.total_s.toFixed(2)} s chose ${used}${timed(timings)}`);
  if (load < choices) return;
  const loads = results.filter((result) => result.name === name && result.load);
  const kinds = loads.map((load) => load.used);
  const share = [...new Set(kinds)].map(
    (kind) => `${kind} ${kinds.filter((other) => other === kind).length} of ${kinds.length}`,
  );
  const unsure = loads.filter((load) => load.timings.choice?.sure === false).length;
  const longest = Math.max(...loads.map((load) => load.timings.choice_s));
  console.log(`  in all: ${share.join(", ")}; unsure ${unsure}; at most ${longest.toFixed(2)} s`);
}

/** What was timed for a choice: the fastest run and the others. */
function timed({ choice_s, choice }) {
  if (!choice) return " without timing any";
  const each = choice.timed.map(
    ({ activations, kernel, launch_ms, runs_ms }) =>
      `\n    ${activations} (${kernel}) ${launch_ms.toFixed(4)} ms of ${runs_ms.map((ms) => ms.toFixed(4)).join(" ")}`,
  );
  const [{ rows }] = choice.timed;
  const sure = choice.sure ? "sure" : "not sure";
  return `, ${sure}, in ${choice_s.toFixed(3)} s, by a launch of ${rows} rows:${each.join("")}`;
}

function show({ info, loads, validation, runs }) {
  const said = validation.error
    ? validation.error.message
    : `${validation.ok} (largest difference ${validation.max_relative_difference?.toExponential(1)})`;
  failed ||= validation.ok !== true;
  const { name, tier, activations, memory } = info;
  const megabytes = (memory.total / 1e6).toFixed(0);
  console.log(`${name}: tier ${tier}, prefill ${activations}, GPU memory ${megabytes} MB, validates: ${said}`);
  const { first, again, bytes, fetch_s } = loads;
  const stages = `choice ${first.choice_s.toFixed(2)} s, kernels ${first.kernels_s.toFixed(2)} s`;
  const alone = `fetching alone ${(bytes / fetch_s / 1e6).toFixed(0)} MB/s`;
  console.log(`  load ${visit(first, bytes)} (${stages}); again ${visit(again, bytes)}; ${alone}`);
  for (const name of ["first", "again"])
    console.log(`  ${name}: chose ${loads[name].activations}${timed(loads[name])}`);
  for (const run of runs) {
    if (run.error) {
      failed = true;
      console.error(`  ${run.error.message}`);
      continue;
    }
    const { prefill_tokens_per_s: prefill, decode_tokens_per_s: decode, time_to_first_token_s } = run.median;
    const first = `first token ${(time_to_first_token_s * 1000).toFixed(0)} ms`;
    const decoding = `decode ${run.decode_tokens} at context ${run.context}: ${decode.toFixed(0)} tok/s`;
    const medians = `medians of ${run.decode_tokens_per_s.length}`;
    console.log(`  prefill ${run.prefill_tokens}: ${prefill.toFixed(0)} tok/s, ${first}; ${decoding} (${medians})`);
  }
  const [short, long] = runs.map((run) => run.median);
  if (!short || !long) return;
  rows.push([
    info.name,
    short.decode_tokens_per_s.toFixed(0),
    long.decode_tokens_per_s.toFixed(0),
    info.memory.weight * short.decode_tokens_per_s,
    short.prefill_tokens_per_s.toFixed(0),
    long.prefill_tokens_per_s.toFixed(0),
    `${(long.time_to_first_token_s * 1000).toFixed(0)} ms`,
    `${loads.first.load_s.toFixed(2)} s`,
    `${loads.again.load_s.toFixed(2)} s`,
  ]);
}

/** The rows, with the bytes of weights a second that a decode at 512 reads, and their ratio to the last bundle's. */
function compared() {
  const last = rows.at(-1)[3];
  return rows.map(([name, short, long, read, ...others]) => [
    name,
    short,
    long,
    `${(read / 1e9).toFixed(0)} GB/s`,
    `${(read / last).toFixed(2)} x`,
    ...others,
  ]);
}

function visit({ load_s, weights_s, first_token_s }, bytes) {
  const speed = `${(bytes / weights_s / 1e6).toFixed(0)} MB/s`;
  return `${load_s.toFixed(2)} s, weights at ${speed}, first token after ${first_token_s.toFixed(2)} s`;
}

/** The document that `mlcweb bench --profile --format json` prints. */
function keep({ url, info, profile, browser }) {
  const { vendor, architecture, device, description } = info.adapter;
  const adapter = [...new Set([vendor, architecture, device, description].filter(Boolean))].join(" ") || "unnamed";
  const document = {
    format: "mlcweb-profile",
    version: 2,
    machine: process.env.GPU_NAME,
    browser,
    adapter,
    ...profile,
  };
  fs.mkdirSync(profiles, { recursive: true });
  const file = path.join(profiles, `${path.basename(bundles[Number(/\d+/.exec(url)[0])])}.profile.json`);
  fs.writeFileSync(file, `${JSON.stringify(document, null, 1)}\n`);
  const { decode, prefill, timing } = profile;
  const [step, chunk] = [decode, prefill].map(({ microseconds }) => `${microseconds.toFixed(0)} us`);
  console.log(`${file}: decode ${step}, prefill of ${prefill.tokens} ${chunk}, by ${timing}`);
}

function options() {
  const text = { type: "string" };
  try {
    const {
      values: { profile, choices, ...choice },
      positionals: [engine, ...bundles],
    } = parseArgs({
      args: own,
      allowPositionals: true,
      options: { profile: text, choices: text, tier: text, activations: text },
    });
    const known = choices === undefined || (/^[1-9]\d{0,3}$/.test(choices) && profile === undefined);
    if (engine && bundles.length && known) return { profile, choices: Number(choices ?? 0), engine, bundles, choice };
  } catch (error) {
    console.error(error.message);
  }
  console.error(USAGE);
  process.exit(2);
}
