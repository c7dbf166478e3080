// Measures the constraint library in Node and prints everything: sizes, usual and hostile constraints with each
// tokenizer, JSON Schema's test suite.
//   cd bench/constraints && npm ci --ignore-scripts && node run.mjs TOKENIZER:EOS… [--suite TESTS_FOLDER]
// A TOKENIZER is a bundle's tokenizer.json, EOS the id of its stop token. TESTS_FOLDER is tests/draft2020-12 of the
// suite: the source package of PyPI's jsonschema has it (pip download --no-deps --no-binary jsonschema jsonschema).
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import zlib from "node:zlib";
import { bundle, PACKAGE } from "./library.mjs";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const { values, positionals } = parseArgs({ allowPositionals: true, options: { suite: { type: "string" } } });

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "constraints-"));
const { js, wasm } = await bundle(folder);
console.log("file | bytes | gzip -9 | brotli 11 | new Function or eval");
for (const file of [path.join(PACKAGE, "lib/index.js"), js, wasm]) sizes(file);
fs.rmSync(folder, { recursive: true });
for (const tokenizer of positionals) {
  const [file, eos] = tokenizer.split(":");
  console.log(`\n${file}: usual constraints (times in ms)`);
  part("hostile.mjs", file, eos, "usual", "60");
}
const [file, eos] = positionals.at(0)?.split(":") ?? [];
if (file) {
  console.log("\nhostile constraints, 20 seconds each at most");
  part("hostile.mjs", file, eos, "hostile", "20");
}
if (values.suite) {
  console.log(`\n${values.suite}`);
  part("suite.mjs", values.suite);
}

function part(script, ...args) {
  spawnSync(process.execPath, [path.join(HERE, script), ...args], { stdio: "inherit" });
}

function sizes(name) {
  const bytes = fs.readFileSync(name);
  const params = { [zlib.constants.BROTLI_PARAM_QUALITY]: 11 };
  const counts = [
    bytes.length,
    zlib.gzipSync(bytes, { level: 9 }).length,
    zlib.brotliCompressSync(bytes, { params }).length,
  ];
  const evaluates = /new Function|[^.\w]eval\(/.test(bytes.toString("latin1"));
  console.log([path.basename(name), ...counts, evaluates ? "yes" : "no"].join(" | "));
}
