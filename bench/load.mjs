// Benchmarks loads on a machine that has a browser and Node: each stage alone, then whole loads.
import { fileURLToPath } from "node:url";
import { machine, runPage, split, VERSION } from "./page.mjs";
import { pageMemory, processorTimes } from "./loading/processes.mjs";
const [[engine, ...bundles], flags] = split(process.argv.slice(2), "--");
const folders = { engine, bench: fileURLToPath(new URL(".", import.meta.url)), ...Object.fromEntries(bundles.map((bundle, i) => [`bundle${i}`, bundle])) };
console.log(`machine: ${machine()}`);
const speed = ({ bytes, seconds }) => `${(bytes / seconds / 1e6).toFixed(0)} MB/s`;
const only = process.env.ONLY ?? "";
const script = `
const { timeStages } = await import("/bench/loading/stages.mjs");
await import("/engine/harness.js");
for (const url of ${JSON.stringify(bundles.map((_, i) => `/bundle${i}/`))}) {
  await report({ begin: true });
  await timeStages(url, report, ${JSON.stringify(only)});
  if (${JSON.stringify(only)}) continue;
  const { info, ...loads } = await mlcweb.benchLoad(url, {});
  await report({ url, loads });
}
await report({ browser: ${VERSION} });`;
let before = {}, peak = 0;
setInterval(() => { peak = Math.max(peak, pageMemory()); }, 50).unref();
function cpu(bytes) {
  const now = processorTimes();
  const used = Object.entries(now).map(([kind, s]) => [kind, s - (before[kind] ?? 0)]).filter(([, s]) => s > 0.02);
  before = now;
  const m = peak; peak = 0;
  return `cpu s/GB: ${used.map(([kind, s]) => `${kind} ${(s / (bytes / 1e9)).toFixed(2)}`).join(", ")}; page ${(m / 1e6).toFixed(0)} MB`;
}
await runPage(script, { folders, flags, heard(said) {
  if (said.begin) return cpu(1);
  if (said.stage) return console.log(`${said.stage} ${said.threads || "page"} x ${said.lanes}: ${said.failed ?? speed(said)}; ${cpu(said.bytes)}`);
  if (said.loads) { const { first, again, bytes, fetch_s } = said.loads; return console.log(`fetch ${speed({bytes, seconds: fetch_s})} first ${first.load_s.toFixed(2)} s ${speed({bytes, seconds: first.weights_s})} kernels ${first.kernels_s.toFixed(2)}; again ${again.load_s.toFixed(2)} s, ${speed({bytes, seconds: again.weights_s})}`); }
  console.log(JSON.stringify(said));
}});
