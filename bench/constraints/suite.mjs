// JSON Schema's official test suite against web-xgrammar: which constraints it takes, and whether they accept the valid
// instances and refuse the invalid ones. Counts by keyword.
// usage: node suite.mjs TESTS_FOLDER (the suite's tests/draft2020-12) [--list]
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { bundle, load } from "./library.mjs";

const [folder, ...flags] = process.argv.slice(2);
const files = await bundle(fs.mkdtempSync(path.join(os.tmpdir(), "xgrammar-")));
const fatal = [];
console.error = (...words) => fatal.push(words.join(" "));
console.log = console.error;
const print = (line) => process.stdout.write(`${line}\n`);
let library;
let compiler;
await restart();
const COLUMNS = ["right", "right if reordered", "over-accepts", "over-refuses", "aborted"];
const rows = [];
const notes = [];

for (const file of fs.readdirSync(folder).filter((name) => name.endsWith(".json"))) {
  const row = Object.fromEntries(COLUMNS.map((name) => [name, 0]));
  for (const { description, schema, tests } of JSON.parse(fs.readFileSync(path.join(folder, file), "utf8"))) {
    let compiled;
    fatal.length = 0;
    try {
      compiled = await compiler.compileJSONSchema(JSON.stringify(schema), true, -1, undefined, false);
    } catch (error) {
      await restart();
      row.aborted += tests.length;
      notes.push(
        `${file} aborted: ${description}: ${fatal[0]?.replace(/^.*?cc:\d+: /, "").slice(0, 90) ?? error.message}`,
      );
      continue;
    }
    for (const test of tests) {
      const outcome = await judge(compiled, schema, test);
      row[outcome]++;
      if (outcome.startsWith("over")) notes.push(`${file} ${outcome}: ${description} / ${test.description}`);
    }
    compiled.dispose();
  }
  rows.push([file.replace(".json", ""), row]);
}

const total = Object.fromEntries(COLUMNS.map((name) => [name, rows.reduce((sum, [, row]) => sum + row[name], 0)]));
print(["keyword", ...COLUMNS].join(" | "));
for (const [name, row] of [...rows, ["TOTAL", total]])
  print([name, ...COLUMNS.map((column) => row[column])].join(" | "));
if (flags.includes("--list")) print(notes.join("\n"));

/** An abort leaves its stack behind, and after some the module breaks: a new instance follows each. */
async function restart() {
  library = await load(files);
  const info = await library.TokenizerInfo.createTokenizerInfo([]);
  compiler = await library.GrammarCompiler.createGrammarCompiler(info, false);
}

async function judge(compiled, schema, { data, valid }) {
  if (await accepts(compiled, data)) return valid ? "right" : "over-accepts";
  const reordered = [...orders(data, JSON.stringify(schema))];
  for (const other of reordered)
    if (await accepts(compiled, other)) return valid ? "right if reordered" : "over-accepts";
  return valid ? "over-refuses" : "right";
}

async function accepts(compiled, data) {
  const matcher = await library.GrammarMatcher.createGrammarMatcher(compiled, undefined, true);
  try {
    return matcher._acceptString(JSON.stringify(data)) && matcher.isTerminated();
  } finally {
    matcher.dispose();
  }
}

/** The instance with its keys in the schema's order, then with the outermost keys in every order (of up to 5). */
function* orders(data, schema) {
  yield sorted(data, schema);
  const keys = data !== null && typeof data === "object" && !Array.isArray(data) ? Object.keys(data) : [];
  if (keys.length < 2 || keys.length > 5) return;
  for (const order of permutations(keys)) {
    const inner = Object.fromEntries(order.map((key) => [key, sorted(data[key], schema)]));
    yield inner;
  }
}

function sorted(value, schema) {
  if (Array.isArray(value)) return value.map((item) => sorted(item, schema));
  if (value === null || typeof value !== "object") return value;
  const place = (key) => schema.indexOf(`${JSON.stringify(key)}:`) + 1 || Number.MAX_SAFE_INTEGER;
  const keys = Object.keys(value).sort((a, b) => place(a) - place(b));
  return Object.fromEntries(keys.map((key) => [key, sorted(value[key], schema)]));
}

function* permutations(list) {
  if (list.length < 2) yield list;
  else
    for (const first of list)
      for (const rest of permutations(list.filter((item) => item !== first))) yield [first, ...rest];
}
