// Every constraint of cases.mjs in a process of its own, one line each.
// usage: node hostile.mjs TOKENIZER EOS [usual|hostile] [seconds until a case counts as hung]
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { HOSTILE, USUAL } from "./cases.mjs";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const [file, eos, set = "hostile", seconds = "20"] = process.argv.slice(2);
for (const name of Object.keys(set === "usual" ? USUAL : HOSTILE)) {
  const start = performance.now();
  const run = spawnSync(process.execPath, [path.join(HERE, "case.mjs"), file, eos, set, name], {
    timeout: Number(seconds) * 1000,
    killSignal: "SIGKILL",
    encoding: "utf8",
  });
  const elapsed = Math.round(performance.now() - start);
  if (run.stdout) console.log(line(name, JSON.parse(run.stdout)));
  else console.log(`${name}: ${run.signal ? `HUNG, ended after ${elapsed} ms` : `DIED: ${run.stderr.slice(-200)}`}`);
}

function line(name, { compileMs, megabytes, error, after, message, allowed, forced, ...rest }) {
  const first = `${allowed} tokens allowed, forced ${JSON.stringify(forced)?.slice(0, 30)}`;
  const compiled = compileMs === undefined ? "" : `compiled in ${compileMs.toFixed(0)} ms, ${first}`;
  const failed = error ? ` ERROR ${error} (then: ${after})` : "";
  const said = message ? ` "${message}"` : "";
  const numbers = set === "usual" ? ` ${JSON.stringify(rest, rounded)}` : "";
  const memory = megabytes.map((size) => size.toFixed(0)).join(" -> ");
  return `${name}: ${compiled}${failed}${said} wasm ${memory} MB${numbers}`;
}

function rounded(_, value) {
  return typeof value === "number" ? Number(value.toFixed(3)) : value;
}
