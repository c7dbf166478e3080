// Measures Transformers.js beside mlcweb: in one page, in turns, with models of the same shape, on WebGPU; or texts
// without it, in WebAssembly.
//   CHROME=/path/to/chromium node bench/peers/transformers.mjs KIND ENGINE_DIR BUNDLE_DIR PEER_DIR [-- chromium flags]
// KIND is texts or decode. It needs a browser and Node, and neither npm nor Python: PEER_DIR has Transformers.js and
// the models (bench/peers/onnx_encoder.py and onnx_decoder.py write one).
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { machine, runPage, split, table, VERSION } from "../page.mjs";
import { DECODE } from "./transformers_decode.mjs";
import { TEXTS } from "./transformers_texts.mjs";

const KINDS = { texts: TEXTS, decode: DECODE };
const HELP = `usage: node bench/peers/transformers.mjs KIND [options] ENGINE_DIR BUNDLE_DIR PEER_DIR [-- chromium flags]
ENGINE_DIR is mlcweb/engine; PEER_DIR has Transformers.js and ONNX models.
${Object.entries(KINDS)
  .map(([kind, { help }]) => `${kind}: ${help}`)
  .join("\n")}
  --repeats N      turns, of which the median counts (5; in software 1)
  --model FOLDER:DTYPE
                   this model of PEER_DIR alone; may be repeated
  --tier NAME      the tier that mlcweb runs
  --cpu            texts on the CPU, in as many threads as it has
  --seconds N      how long it all may take (540)
  --out FILE       everything as JSON
Environment: CHROME or MLCWEB_CHROMIUM (the browser), GPU_NAME (the machine's GPU, for the heading)`;

const [own, flags] = split(process.argv.slice(2), "--");
const { kind, engine, bundle, peer, asked } = options();
const { page, defaults, software, cpu, told, head, rows } = KINDS[kind];
const models = asked.model?.map(named) ?? found();
if (!models.length) fail(`${peer}/models has no ONNX model`);
const versions = JSON.parse(fs.readFileSync(path.join(peer, "runtime", "versions.json"), "utf8"));
const bytes = Object.fromEntries(
  models.map(({ folder, dtype }) => [`${folder} ${dtype}`, onnxBytes(path.join(peer, "models", folder), dtype)]),
);
bytes.mlcweb = folderBytes(bundle);
const PROBE = `
const { probe } = await import("/engine/mlcweb.js");
const { vendor, architecture, device, description, software } = (await probe()).adapter ?? { software: true };
const names = [...new Set([vendor, architecture, device, description].filter(Boolean))];
await report({ browser: ${VERSION}, adapter: names.join(" ") || "none", software });`;
const report = { kind, machine: machine(), versions, bytes, measured: [], failed: [] };
try {
  await runPage(PROBE, { folders: { engine }, flags, seconds: 60, heard: (said) => Object.assign(report, said) });
} catch (error) {
  fail(error.message, 1);
}
const settings = Object.fromEntries(
  Object.entries({ repeats: 5, ...defaults, ...(asked.cpu ? cpu : report.software && software) }).map(
    ([name, value]) => [name, whole(name, value)],
  ),
);
report.settings = settings;
console.log(
  `machine: ${report.machine}\n` +
    `browser: ${report.browser}; adapter: ${report.adapter} (${report.software ? "software" : "GPU"})\n` +
    `Transformers.js ${versions["@huggingface/transformers"]}, ONNX Runtime ${versions["onnxruntime-web"]}, on ` +
    (asked.cpu ? `the CPU, in ${os.availableParallelism()} threads` : "WebGPU"),
);
let error;
try {
  // A page ends where a model fails, and the next one goes without it.
  for (let left = models; left.length && !report.finished; left = left.filter(untried))
    await runPage(script(left), {
      folders: { engine, bundle, peer, contenders: path.join(import.meta.dirname, "contenders") },
      flags,
      heard,
      isolated: true,
      seconds: whole("seconds", 540),
    });
} catch (thrown) {
  error = thrown.message;
}
if (report.measured.length) console.log(`\n${told(report)}\n${table(head, rows(report))}`);
for (const { name, error: why } of report.failed) console.log(`${name}: ${why}`);
if (error) console.error(error);
if (asked.out) fs.writeFileSync(asked.out, `${JSON.stringify({ ...report, error }, null, 1)}\n`);
process.exitCode = error || report.measured.length < 2 || report.engine?.ok !== true ? 1 : 0;

function script(left) {
  const tier = asked.cpu ? "wasm" : asked.tier;
  return `
const half = ${asked.cpu === true} || (await navigator.gpu.requestAdapter()).features.has("shader-f16");
const { ${page.run} } = await import("/contenders/${page.file}");
const asked = ${JSON.stringify({ bundle: "/bundle/", tier, models: left, ...settings })};
await ${page.run}({ ...asked, half }, report);`;
}

function untried({ folder, dtype }) {
  return !report.failed.some(({ name }) => name === `${folder} ${dtype}`);
}

function heard({ measured, failed, opened, ...said }) {
  if (measured) report.measured.push(measured);
  else if (failed) report.failed.push({ name: `${failed.folder} ${failed.dtype}`, error: failed.error });
  else if (!opened) Object.assign(report, said);
  if (said.engine && !report.failed.length) {
    const { name, tier, ok, max_relative_difference: difference } = said.engine;
    console.log(`mlcweb: ${name}, tier ${tier}, validates: ${ok} (${difference?.toExponential(1)})`);
  }
  if (opened) process.stderr.write(`${opened}: ready\n`);
  if (failed) process.stderr.write(`${failed.folder} ${failed.dtype}: ${failed.error}\n`);
}

/** Every ONNX file of PEER_DIR, as a folder and a dtype. */
function found() {
  const folders = fs.readdirSync(path.join(peer, "models"));
  return folders
    .sort()
    .flatMap((folder) => dtypes(path.join(peer, "models", folder)).map((dtype) => ({ folder, dtype })));
}

function dtypes(model) {
  const suffixes = { "": "fp32", _fp16: "fp16", _quantized: "q8", _q4: "q4", _q4f16: "q4f16" };
  const files = fs.readdirSync(path.join(model, "onnx"));
  return Object.entries(suffixes).flatMap(([suffix, dtype]) => (files.includes(`model${suffix}.onnx`) ? [dtype] : []));
}

function onnxBytes(model, dtype) {
  const suffix = { fp32: "", q8: "_quantized" }[dtype] ?? `_${dtype}`;
  const whole = `model${suffix}.onnx`;
  const folder = path.join(model, "onnx");
  const files = fs.readdirSync(folder).filter((file) => file === whole || file.startsWith(`${whole}_data`));
  return files.reduce((sum, file) => sum + fs.statSync(path.join(folder, file)).size, 0);
}

function folderBytes(folder) {
  return fs.readdirSync(folder).reduce((sum, file) => sum + fs.statSync(path.join(folder, file)).size, 0);
}

function named(text) {
  const [folder, dtype] = text.split(":");
  const known = fs.existsSync(path.join(peer, "models", folder, "onnx"));
  if (known && dtypes(path.join(peer, "models", folder)).includes(dtype)) return { folder, dtype };
  return fail(
    `--model ${text}: ${peer} has ${found()
      .map((model) => `${model.folder}:${model.dtype}`)
      .join(", ")}`,
  );
}

function whole(name, value) {
  if (asked[name] === undefined) return value;
  const number = Number(asked[name]);
  return Number.isInteger(number) && number > 0 ? number : fail(`--${name} takes a positive integer`);
}

function fail(why, code = 2) {
  console.error(why);
  process.exit(code);
}

function options() {
  const text = { type: "string" };
  try {
    const [kind, ...others] = own;
    const {
      values: asked,
      positionals: [engine, bundle, peer],
    } = parseArgs({
      args: KINDS[kind] ? others : own,
      allowPositionals: true,
      options: {
        ...Object.fromEntries(Object.keys(KINDS[kind]?.defaults ?? {}).map((name) => [name, text])),
        ...{ repeats: text, tier: text, seconds: text, out: text, help: { type: "boolean" }, cpu: { type: "boolean" } },
        model: { type: "string", multiple: true },
      },
    });
    if (asked.help) {
      console.log(HELP);
      process.exit(0);
    }
    for (const needed of peer ? [`${engine}/mlcweb.js`, `${bundle}/mlcweb.json`, `${peer}/runtime/versions.json`] : [])
      if (!fs.existsSync(needed)) fail(`${needed} is not there`);
    if (asked.cpu && peer && !KINDS[kind]?.cpu)
      fail(`--cpu is for ${Object.keys(KINDS).find((name) => KINDS[name].cpu)}`);
    if (KINDS[kind] && peer) return { kind, engine, bundle, peer, asked };
  } catch (error) {
    console.error(error.message);
  }
  console.error(HELP);
  process.exit(2);
}
