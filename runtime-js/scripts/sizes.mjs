// Prints what a page downloads, gzipped, and fails when it outgrows the budget.
import { readdir, readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

const dist = new URL("../dist/", import.meta.url);
const KIB = 1024;
const budgets = {
  "mlcweb.js": 200 * KIB,
  "core.js": 80 * KIB,
  "web-llm.js": 24 * KIB,
  "worker.js": 10 * KIB,
  "serve.js": 10 * KIB,
};
let failed = false;
for (const name of (await readdir(dist)).filter((n) => n.endsWith(".js")).sort()) {
  const bytes = await readFile(new URL(name, dist));
  const gzip = gzipSync(bytes, { level: 9 }).length;
  const budget = budgets[name];
  const over = budget !== undefined && gzip > budget;
  failed ||= over;
  const [raw, zipped] = [bytes.length, gzip].map((size) => (size / KIB).toFixed(1).padStart(7));
  const allowed = budget ? `  (budget ${budget / KIB})${over ? "  OVER" : ""}` : "";
  console.log(`${name.padEnd(24)} ${raw} KiB ${zipped} KiB gzip${allowed}`);
}
process.exit(failed ? 1 : 0);
