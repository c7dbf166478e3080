// Runs a benchmark of several bundles in one page, and prints a line and rows of a table for each.
import { parseArgs } from "node:util";
import { machine, runPage, split, table, VERSION } from "./page.mjs";

/** `script` makes the page's, of the bundles' URLs and the tier; it reports an object with a `name` for each bundle.
 * `accuracy` says how far one's numbers are off; `head` and `rows` are the table's. Ends the process with 2 for wrong
 * arguments, and with 1 where something failed. The last line is everything as JSON. */
export async function benchBundles({ usage, script, accuracy, head, rows }) {
  const [own, flags] = split(process.argv.slice(2), "--");
  const { engine, bundles, tier } = options(own, usage);
  const urls = bundles.map((_, i) => `/bundle${i}/`);
  const results = [];
  let failed = false;
  console.log(`machine: ${machine()}`);
  const heard = (result) => {
    results.push(result);
    if (result.browser) return console.log(`browser: ${result.browser}`);
    failed ||= result.ok !== true;
    const megabytes = (result.memory.total / 1e6).toFixed(0);
    console.log(
      `${result.name}: tier ${result.tier}, GPU memory ${megabytes} MB, validates: ${result.ok} (${accuracy(result)})`,
    );
  };
  try {
    const folders = { engine, ...Object.fromEntries(bundles.map((bundle, i) => [`bundle${i}`, bundle])) };
    await runPage(`${script(urls, tier)}\nawait report({ browser: ${VERSION} });`, { folders, heard, flags });
  } catch (error) {
    failed = true;
    console.error(error.message);
  }
  const measured = results.filter((result) => result.name).flatMap(rows);
  if (measured.length) console.log(`\n${table(head, measured)}`);
  console.log(JSON.stringify(results));
  process.exitCode = failed ? 1 : 0;
}

function options(own, usage) {
  try {
    const {
      values: { tier },
      positionals: [engine, ...bundles],
    } = parseArgs({ args: own, allowPositionals: true, options: { tier: { type: "string" } } });
    if (engine && bundles.length) return { engine, bundles, tier };
  } catch (error) {
    console.error(error.message);
  }
  console.error(usage);
  process.exit(2);
}
