// The benchmark for a machine that has a browser and Node, and neither Python nor a package index (a bare GPU box):
//   CHROME=/path/to/chromium node bench/remote.mjs ENGINE_DIR BUNDLE_DIR… [-- chromium flags]
// ENGINE_DIR is mlcweb/engine. Prints, for each bundle, whether it validates, and the medians of load, prefill and
// decode after a warm-up; the last line is everything as JSON.
import { spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";

const [own, flags] = split(process.argv.slice(2), "--");
const [engine, ...bundles] = own;
if (!engine || bundles.length === 0) {
  console.error("usage: node bench/remote.mjs ENGINE_DIR BUNDLE_DIR… [-- chromium flags]");
  process.exit(2);
}
const RUNS = [
  { prefill: 512, decode: 128, context: 512, repeats: 5 },
  { prefill: 2048, decode: 64, context: 3900, repeats: 3 },
];
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".json": "application/json", ".wasm": "application/wasm" };
const page = `<!doctype html><meta charset=utf-8><script type=module>
import "/harness.js";
const post = (value) => fetch("/report", { method: "POST", body: JSON.stringify(value) });
try {
  for (const url of ${JSON.stringify(bundles.map((_, i) => `/bundle${i}/`))}) {
    const loaded = await mlcweb.load(url, { cache: false });
    if (loaded.error) { await post({ url, error: loaded.error }); continue; }
    const validation = await mlcweb.validate();
    const runs = [];
    for (const options of ${JSON.stringify(RUNS)}) runs.push(await mlcweb.bench(options));
    await post({ url, info: loaded.info, validation, runs });
  }
  const { features } = await navigator.gpu.requestAdapter();
  await post({ done: true, userAgent: navigator.userAgent, features: [...features] });
} catch (error) { await post({ done: true, error: String(error) }); }
</script>`;

const results = [];
const server = http.createServer((request, response) => {
  if (request.method === "POST") {
    let body = "";
    request.on("data", (data) => (body += data));
    request.on("end", () => { response.end(); report(JSON.parse(body)); });
    return;
  }
  const url = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  if (url === "/") { response.setHeader("Content-Type", "text/html"); return response.end(page); }
  const bundle = /^\/bundle(\d+)\/(.*)$/.exec(url);
  const file = bundle ? path.join(bundles[Number(bundle[1])], path.basename(bundle[2])) : path.join(engine, path.basename(url));
  if (!fs.existsSync(file)) { response.statusCode = 404; return response.end(); }
  response.setHeader("Content-Type", TYPES[path.extname(file)] ?? "application/octet-stream");
  response.setHeader("Content-Length", fs.statSync(file).size);
  fs.createReadStream(file).pipe(response);
});

let browser;
server.listen(0, "127.0.0.1", () => {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "mlcweb-bench-"));
  const quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"];
  const root = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  browser = spawn(process.env.CHROME ?? "chromium", [
    "--headless=new", "--enable-unsafe-webgpu", ...root, ...quiet, `--user-data-dir=${profile}`, ...flags, `http://127.0.0.1:${server.address().port}/`,
  ], { stdio: "ignore" });
  browser.on("exit", () => { fs.rmSync(profile, { recursive: true, force: true }); process.exit(process.exitCode ?? 1); });
  console.log(`machine: ${os.cpus()[0].model}, ${os.cpus().length} cores; ${process.env.GPU_NAME ?? "GPU not named"}`);
});

function report(result) {
  results.push(result);
  if (result.done) {
    if (result.error) console.error(result.error);
    console.log(`browser: ${result.userAgent}; adapter features: ${result.features?.join(" ")}`);
    console.log(JSON.stringify(results));
    process.exitCode = result.error || results.some((r) => r.error || r.validation?.ok === false) ? 1 : 0;
    browser.kill();
    return;
  }
  if (result.error) return console.error(`${result.url}: ${result.error.message}`);
  const { info, validation, runs } = result;
  console.log(`${info.name}: tier ${info.tier}, GPU memory ${(info.memory.total / 1e6).toFixed(0)} MB, load ${info.timings.total_s.toFixed(2)} s, validates: ${validation.ok} (largest difference ${validation.max_relative_difference?.toExponential(1)})`);
  for (const run of runs) {
    if (run.error) { console.error(`  ${run.error.message}`); continue; }
    const { prefill_tokens_per_s: prefill, decode_tokens_per_s: decode, time_to_first_token_s: first } = run.median;
    console.log(`  prefill ${run.prefill_tokens}: ${prefill.toFixed(0)} tok/s, first token ${(first * 1000).toFixed(0)} ms; decode ${run.decode_tokens} at context ${run.context}: ${decode.toFixed(0)} tok/s (medians of ${run.decode_tokens_per_s.length})`);
  }
}

function split(list, at) {
  const i = list.indexOf(at);
  return i < 0 ? [list, []] : [list.slice(0, i), list.slice(i + 1)];
}
