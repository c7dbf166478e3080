// Measures what a load waits for, on a machine that has a browser and Node, and neither Python nor a package index:
//   CHROME=/path/to/chromium node bench/load.mjs [options] ENGINE_DIR BUNDLE_DIR… [-- chromium flags]
// ENGINE_DIR is mlcweb/engine. For each bundle it prints the visits: the weights brought to no GPU, by the usual number
// of carriers and by others (0: the page does it), and whole loads, each from the server, again with every byte hashed,
// and again with verify "first". Then each stage alone, on the page's thread and in workers: speed, and the processor
// seconds that a GB takes of the page's thread and of all the browser's processes, which a busy machine changes less
// than the speed. All are medians of the rounds (--rounds N, 3). --only visits or --only stages leaves the others out.
// The last line is everything as JSON. It needs Linux.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { pageMemory, processorTimes } from "./loading/processes.mjs";
import { machine, runPage, split, table, VERSION } from "./page.mjs";

const [own, flags] = split(process.argv.slice(2), "--");
const { rounds, only, engine, bundles } = options();
const folders = {
  engine,
  bench: fileURLToPath(new URL(".", import.meta.url)),
  ...Object.fromEntries(bundles.map((bundle, i) => [`bundle${i}`, bundle])),
};
const urls = JSON.stringify(bundles.map((_, i) => `/bundle${i}/`));
const VISITS = `
for (const url of ${urls}) for (let round = 0; round < ${rounds}; round++) {
  const said = (kind, { error, ...result }) => report({ url, kind, ...result, error: error?.message });
  const load = async (kind, options) => {
    const { info, error } = await mlcweb.load(url, { cache: true, ...options });
    const { total_s: seconds, weights_s, kernels_s } = info?.timings ?? {};
    await said(kind, error ? { error } : { bytes: info.memory.weight, seconds, weights_s, kernels_s });
    await mlcweb.unload();
  };
  await mlcweb.deleteFromCache(url);
  await report({ begin: true });
  await said("brought, first", await mlcweb.bring(url));
  await said("brought, again", await mlcweb.bring(url));
  await said("brought, verify first", await mlcweb.bring(url, { verify: "first" }));
  await said("brought, verify first again", await mlcweb.bring(url, { verify: "first" }));
  await said("brought again, measured", await mlcweb.bring(url, { memory: true }));
  await mlcweb.deleteFromCache(url);
  await said("brought, first, measured", await mlcweb.bring(url, { memory: true }));
  for (const most of [0, 1, 2, 4, 6]) {
    await mlcweb.deleteFromCache(url);
    await said("brought by " + most + ", first", await mlcweb.bring(url, { most }));
    await said("brought by " + most + ", again", await mlcweb.bring(url, { most }));
  }
  await mlcweb.deleteFromCache(url);
  await load("load, first");
  await load("load, again");
  await load("load, verify first", { verify: "first" });
  await load("load, verify first again", { verify: "first" });
  await mlcweb.deleteFromCache(url);
}`;
const STAGES = `
const { timeStages } = await import("/bench/loading/stages.mjs");
for (const url of ${urls}) for (let round = 0; round < ${rounds}; round++) {
  await report({ begin: true });
  await timeStages(url, report);
}`;

const results = [];
let failed = false;
let before = {};
let peak = 0;
setInterval(() => {
  peak = Math.max(peak, pageMemory());
}, 20).unref();
console.log(`machine: ${machine()}`);
// Each in a browser of its own, since a page's memory grows with what it has done before. Memory is measured at once
// by the first flag.
const common = { folders, heard, isolated: true };
const now = ["--enable-blink-features=ForceEagerMeasureMemory", ...flags];
if (only !== "stages")
  await run(`await import("/engine/harness.js");${VISITS}\nawait report({ browser: ${VERSION} });`, now);
if (only !== "visits") await run(STAGES, flags);
show();
console.log(JSON.stringify(results));
process.exitCode = failed ? 1 : 0;

async function run(script, flags) {
  try {
    await runPage(script, { ...common, flags });
  } catch (error) {
    failed = true;
    console.error(error.message);
  }
}

function heard(said) {
  if (said.browser) return console.log(`browser: ${said.browser}`);
  const now = processorTimes();
  const used = Object.fromEntries(Object.entries(now).map(([kind, seconds]) => [kind, seconds - (before[kind] ?? 0)]));
  if (!said.begin) {
    results.push({ ...said, used, peak });
    const { kind, stage, threads, lanes, seconds } = said;
    console.log(`  ${kind ?? stage} ${where(threads, lanes)} ${seconds?.toFixed(2) ?? "failed"}`);
  }
  if (said.error) {
    failed = true;
    console.error(`${said.url} ${said.kind}: ${said.error}`);
  }
  before = processorTimes();
  peak = 0;
}

function show() {
  const groups = new Map();
  for (const result of results.filter(({ error }) => !error)) {
    const { url, kind, stage, threads, lanes } = result;
    const key = JSON.stringify([url, kind ?? stage, threads, lanes]);
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  const rows = [...groups].map(([key, runs]) => {
    const [url, what, threads, lanes] = JSON.parse(key);
    const of = (value) => median(runs.map(value));
    const perGb = (seconds) => (bytes) => (seconds / (bytes / 1e9)).toFixed(2);
    const { bytes } = runs[0];
    if (runs[0].failed) return [what, where(threads, lanes), runs[0].failed, "", "", "", "", ""];
    const page = of(({ used }) => used["page thread"]);
    const all = of(({ used }) =>
      Object.entries(used).reduce((sum, [kind, s]) => sum + (kind === "page thread" ? 0 : s), 0),
    );
    return [
      url ? `${bundles[Number(/\d+/.exec(url)[0])].replace(/\/$/, "").split("/").at(-1)}: ${what}` : what,
      where(threads, lanes),
      `${of(({ seconds }) => seconds).toFixed(2)} s`,
      `${(bytes / of(({ seconds, weights_s }) => weights_s ?? seconds) / 1e6).toFixed(0)} MB/s`,
      perGb(page)(bytes),
      perGb(all)(bytes),
      `${(of(({ peak }) => peak) / 1e6).toFixed(0)} MB`,
      runs[0].memory ? `${(of(({ memory }) => memory) / 1e6).toFixed(0)} MB` : "",
    ];
  });
  const columns = ["what", "by", "time", "weights", "page s/GB", "all s/GB", "process's memory", "JS memory"];
  console.log(`\n${table(columns, rows)}`);
}

function where(threads, lanes) {
  return lanes ? `${threads || "page"} x ${lanes}` : "";
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function options() {
  try {
    const {
      values: { rounds, only },
      positionals: [engine, ...bundles],
    } = parseArgs({
      args: own,
      allowPositionals: true,
      options: { rounds: { type: "string", default: "3" }, only: { type: "string" } },
    });
    const known = /^[1-9]\d?$/.test(rounds) && [undefined, "visits", "stages"].includes(only);
    if (engine && bundles.length && known) return { rounds: Number(rounds), only, engine, bundles };
  } catch (error) {
    console.error(error.message);
  }
  console.error(
    "usage: node bench/load.mjs [--rounds N] [--only visits|stages] ENGINE_DIR BUNDLE_DIR… [-- chromium flags]",
  );
  process.exit(2);
}
