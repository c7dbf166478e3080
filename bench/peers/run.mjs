// Measures other engines beside ours: the same prompts, in the same Chromium, one after the other.
//   node bench/peers/run.mjs --bundle DIR --gguf FILE [options] [-- chromium flags]
// `make peers` calls it with SmolLM2. Every contender gets a browser of its own. Shared memory is allowed to all.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { machine, runPage, table, VERSION } from "../page.mjs";

const HELP = `usage: node bench/peers/run.mjs --bundle DIR --gguf FILE [options] [-- chromium flags]
  --bundle DIR      our bundle; may be repeated, the first is what ratios are to
  --gguf FILE       the model for wllama
  --web-llm-model DIR  --web-llm-library FILE
                    weights in MLC's format and their model library; without them WebLLM is left out
  --prompt N  --decode N  --repeats N
                    tokens, and runs of which the median counts (512, 128, 5; in software 32, 8, 1)
  --only NAME       this contender beside ours; may be repeated: mlcweb-cpu-1, mlcweb-cpu-n, wllama-1, wllama-n,
                    wllama-webgpu, web-llm
  --seconds N       how long a contender may take (600)
  --out FILE        everything as JSON
Environment: MLCWEB_CHROMIUM (the browser), GPU_NAME (the machine's GPU, for the heading)`;

const here = import.meta.dirname,
  root = path.resolve(here, "../..");
const own = process.argv.slice(2),
  at = own.indexOf("--");
const flags = at < 0 ? [] : own.slice(at + 1);
const number = { type: "string" };
const { values: asked } = parseArgs({
  args: at < 0 ? own : own.slice(0, at),
  options: {
    bundle: { type: "string", multiple: true },
    gguf: { type: "string" },
    "web-llm-model": { type: "string" },
    "web-llm-library": { type: "string" },
    prompt: number,
    decode: number,
    repeats: number,
    only: { type: "string", multiple: true },
    seconds: { type: "string", default: "600" },
    out: { type: "string" },
    help: { type: "boolean" },
  },
});
if (asked.help || !asked.bundle || !asked.gguf) {
  console.error(HELP);
  process.exit(asked.help ? 0 : 2);
}
const modules = path.join(here, "node_modules"),
  engine = path.join(root, "mlcweb", "engine");
for (const [needed, how] of [
  [modules, "npm --prefix bench/peers ci"],
  [path.join(engine, "mlcweb.js"), "make engine"],
  [asked.gguf, "see --gguf"],
  ...asked.bundle.map((bundle) => [path.join(bundle, "mlcweb.json"), "mlcweb compile"]),
]) {
  if (!fs.existsSync(needed)) {
    console.error(`${needed} is not there: ${how}`);
    process.exit(1);
  }
}

const PROBE = `
const { probe } = await import("/engine/mlcweb.js");
const { vendor, architecture, device, description, software } = (await probe()).adapter ?? { software: true };
const names = [...new Set([vendor, architecture, device, description].filter(Boolean))];
await report({ browser: ${VERSION}, adapter: names.join(" ") || "none", software });`;
const report = { machine: machine(), memory_bytes: os.totalmem(), contenders: [] };
await runPage(PROBE, { folders: { engine }, flags, seconds: 60, heard: (said) => Object.assign(report, said) });
const defaults = report.software ? [32, 8, 1] : [512, 128, 5];
const [prompt, decode, repeats] = ["prompt", "decode", "repeats"].map((name, i) => {
  const value = Number(asked[name] ?? defaults[i]);
  if (!Number.isInteger(value) || value < 1) {
    console.error(`--${name} takes a positive integer`);
    process.exit(2);
  }
  return value;
});
Object.assign(report, { prompt_tokens: prompt, decode_tokens: decode, repeats });
console.log(
  `machine: ${report.machine}, ${(report.memory_bytes / 1e9).toFixed(1)} GB\n` +
    `browser: ${report.browser}; adapter: ${report.adapter} (${report.software ? "software" : "GPU"})`,
);
console.log(
  `a prompt of ${prompt} tokens up to the first one, then ${decode} greedy tokens; ` +
    `${repeats === 1 ? "one run" : `medians of ${repeats} runs`} after a warm-up`,
);

const version = (name) => JSON.parse(fs.readFileSync(path.join(modules, name, "package.json"), "utf8")).version;
const folderBytes = (folder) =>
  fs.readdirSync(folder).reduce((sum, file) => sum + fs.statSync(path.join(folder, file)).size, 0);
const contextLength = Math.max(1024, Math.ceil((prompt + decode + 64) / 1024) * 1024);
const gguf = `/gguf/${path.basename(asked.gguf)}`,
  ggufBytes = fs.statSync(asked.gguf).size;
const threads = os.availableParallelism();
const wllama = (options) => ({
  file: "wllama.js",
  label: `wllama ${version("@wllama/wllama")}`,
  options: { gguf, contextLength, ...options },
  bytes: ggufBytes,
});
const mlcweb = (i, options) => ({
  file: "mlcweb.js",
  label: "mlcweb",
  options: { bundle: `/bundle${i}/`, ...options },
  bytes: folderBytes(asked.bundle[i]),
});
const { tiers } = JSON.parse(fs.readFileSync(path.join(asked.bundle[0], "mlcweb.json"), "utf8"));
const onCpu = tiers.some(({ name }) => name === "wasm");
// `beside`: which of ours a contender's ratios are to.
const contenders = [
  ...asked.bundle.map((_, i) => ({ name: "mlcweb", ...mlcweb(i) })),
  ...(onCpu
    ? [
        { name: "mlcweb-cpu-1", ...mlcweb(0, { tier: "wasm", threads: 1 }) },
        { name: "mlcweb-cpu-n", ...mlcweb(0, { tier: "wasm", threads }) },
      ]
    : []),
  { name: "wllama-1", beside: "mlcweb-cpu-1", ...wllama({ gpu: false, threads: 1 }) },
  { name: "wllama-n", beside: "mlcweb-cpu-n", ...wllama({ gpu: false, threads }) },
  { name: "wllama-webgpu", ...wllama({ gpu: true, threads: 1 }) },
];
if (asked["web-llm-model"] && asked["web-llm-library"]) {
  const options = {
    model: "/web-llm/resolve/main/",
    library: `/library/${path.basename(asked["web-llm-library"])}`,
    contextLength,
  };
  contenders.push({
    name: "web-llm",
    file: "web-llm.js",
    label: `WebLLM ${version("@mlc-ai/web-llm")}`,
    options,
    bytes: folderBytes(asked["web-llm-model"]),
  });
} else console.log("WebLLM is left out: it needs --web-llm-model and --web-llm-library");

const folders = {
  modules,
  engine,
  contenders: path.join(here, "contenders"),
  gguf: path.dirname(asked.gguf),
  ...Object.fromEntries(asked.bundle.map((bundle, i) => [`bundle${i}`, bundle])),
  ...(asked["web-llm-model"] ? { "web-llm": asked["web-llm-model"] } : {}),
  ...(asked["web-llm-library"] ? { library: path.dirname(asked["web-llm-library"]) } : {}),
};
let text;
for (const { name, beside, file, label, options, bytes } of contenders) {
  if (asked.only && name !== "mlcweb" && !asked.only.includes(name)) continue;
  const entry = { name, beside, label, model_bytes: bytes };
  report.contenders.push(entry);
  const script = `
const { open } = await import("/contenders/${file}");
const { measure, promptOf } = await import("/contenders/measure.js");
const began = performance.now();
let contender = await open(${JSON.stringify(options)});
const load_s = (performance.now() - began) / 1000;
const prompt = ${text === undefined ? `await promptOf(${prompt}, contender.count)` : JSON.stringify(text)};
const measured = await measure(contender, prompt, ${prompt}, ${decode}, ${repeats});
const { about } = contender;
let again_s;
if (contender.close) {
  await contender.close();
  const start = performance.now();
  contender = await open(${JSON.stringify(options)});
  for await (const _ of contender.answer(prompt, 1)) again_s ??= (performance.now() - start) / 1000;
}
await report({ prompt, about, load_s, again_s, ...measured });`;
  process.stderr.write(`${label} (${name})…\n`);
  try {
    await runPage(script, {
      folders,
      flags,
      isolated: true,
      seconds: Number(asked.seconds),
      heard: ({ prompt, ...said }) => {
        text ??= prompt;
        Object.assign(entry, said);
      },
    });
  } catch (error) {
    entry.error = error.message.split("\n")[0];
  }
  if (text === undefined) {
    console.error(`ours failed, and there is nothing to compare with: ${entry.error}`);
    process.exit(1);
  }
}

const oursFor = ({ beside }) => report.contenders.find((c) => c.name === beside && !c.error) ?? report.contenders[0];
const times = (ratio) => `${ratio.toFixed(ratio < 10 ? 2 : 1)} x`;
const rate = (value) => value.toFixed(value < 100 ? 2 : 0);
const rows = report.contenders.map((c) => {
  const heading = c.about ? `${c.label}: ${c.about}` : `${c.label} (${c.name})`,
    size = `${(c.model_bytes / 1e6).toFixed(0)} MB`;
  if (c.error) return [heading, size, ...Array(8).fill("-")];
  const ours = oursFor(c);
  return [
    heading,
    size,
    `${c.load_s.toFixed(2)} s`,
    c.again_s === undefined ? "-" : `${c.again_s.toFixed(2)} s`,
    String(c.prompt_tokens),
    rate(c.prefill_tokens_per_s),
    times(ours.prefill_tokens_per_s / c.prefill_tokens_per_s),
    `${c.first_token_s.toFixed(3)} s`,
    rate(c.decode_tokens_per_s),
    times(ours.decode_tokens_per_s / c.decode_tokens_per_s),
  ];
});
const heading = ["tokens/s", "model", "load", "kept, to first", "prompt", "prefill", "ours is"];
console.log(`\n${table([...heading, "first token", "decode", "ours is"], rows)}`);
for (const { name, error } of report.contenders) if (error) console.log(`${name}: ${error}`);
if (asked.out) fs.writeFileSync(asked.out, `${JSON.stringify(report, null, 1)}\n`);
