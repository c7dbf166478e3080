// Opens a page in headless Chromium that reports JSON, for machines that have a browser and Node and nothing else.
import { spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};
const FLAGS = [
  "--headless=new",
  "--enable-unsafe-webgpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-quic",
];

/** The browser to run: CHROME, MLCWEB_CHROMIUM, or the one on PATH. */
export const chromium = () => process.env.CHROME || process.env.MLCWEB_CHROMIUM || "chromium";

/** The machine in a line; GPU_NAME names what the adapter does not. */
export const machine = () =>
  `${os.cpus()[0].model}, ${os.cpus().length} cores${process.env.GPU_NAME ? `; ${process.env.GPU_NAME}` : ""}`;

/** An expression for the browser's whole version, which its user agent string does not tell. */
export const VERSION =
  '"Chrome/" + (await navigator.userAgentData.getHighEntropyValues(["uaFullVersion"])).uaFullVersion';

/** What the scripts of `runPage` call to report. */
export const REPORT = `const report = (value) => fetch("/report", { method: "POST", body: JSON.stringify(value) });`;

// Whatever ends this process ends its browsers.
const running = new Set();
process.on("exit", () => {
  for (const browser of running) browser.kill();
});
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
])
  process.on(signal, () => process.exit(code));

/** Runs a module script in a page, with `folders` served under their names, and calls `heard` with each thing that it
 * reports, until one has `done`, the browser ends, or `seconds` have passed, which is an error. `isolated` gives the
 * page shared memory. */
export function runPage(script, { folders, heard, flags = [], isolated = false, seconds = 3600 }) {
  const html = `<!doctype html><meta charset=utf-8><script type=module>${REPORT}
try {
${script}
await report({ done: true });
} catch (error) { await report({ done: true, error: String(error?.message ?? error) }); }</script>`;
  return new Promise((resolve, reject) => {
    let browser,
      timer,
      ended = false;
    const profile = fs.mkdtempSync(path.join(os.tmpdir(), "mlcweb-bench-"));
    const end = (error) => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      running.delete(browser);
      const close = () => {
        server.close();
        server.closeAllConnections();
        // Chromium's other processes outlive it by a moment, and write.
        fs.rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }, () =>
          error ? reject(error) : resolve(),
        );
      };
      if (!browser || browser.exitCode !== null || browser.signalCode !== null || browser.pid === undefined)
        return close();
      browser.once("exit", close);
      browser.kill();
    };
    const server = http.createServer((request, response) => {
      if (isolated) {
        response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
        response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
      }
      if (request.method === "POST") {
        let body = "";
        request.on("data", (data) => (body += data));
        request.on("end", () => {
          response.end();
          const said = JSON.parse(body);
          if (!said.done) return heard(said);
          end(said.error ? new Error(said.error) : undefined);
        });
        return;
      }
      const url = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
      if (url === "/") {
        response.setHeader("Content-Type", "text/html");
        return response.end(html);
      }
      const [, folder, ...rest] = url.split("/");
      const name = path.normalize(rest.join("/"));
      const file = folders[folder] && !name.startsWith("..") ? path.join(folders[folder], name) : undefined;
      if (!file || !fs.statSync(file, { throwIfNoEntry: false })?.isFile()) {
        response.statusCode = 404;
        return response.end();
      }
      response.setHeader("Content-Type", TYPES[path.extname(file)] ?? "application/octet-stream");
      response.setHeader("Content-Length", fs.statSync(file).size);
      fs.createReadStream(file).pipe(response);
    });
    server.listen(0, "127.0.0.1", () => {
      const root = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
      const url = `http://127.0.0.1:${server.address().port}/`;
      browser = spawn(chromium(), [...FLAGS, ...root, `--user-data-dir=${profile}`, ...flags, url], {
        stdio: "ignore",
      });
      running.add(browser);
      browser.on("error", (error) =>
        end(new Error(`${chromium()} did not start: ${error.message}; name a browser in MLCWEB_CHROMIUM`)),
      );
      browser.on("exit", () => end(new Error("Chromium ended before the page was done")));
      timer = setTimeout(() => end(new Error(`not done after ${seconds} s`)), seconds * 1000);
    });
  });
}

/** Columns aligned by spaces: the first to the left, the others, numbers, to the right. */
export function table(columns, rows) {
  const widths = columns.map((column, i) => Math.max(column.length, ...rows.map((row) => row[i].length)));
  return [columns, ...rows]
    .map((row) =>
      row
        .map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** What comes before an item of a list, and what comes after it. */
export function split(list, at) {
  const i = list.indexOf(at);
  return i < 0 ? [list, []] : [list.slice(0, i), list.slice(i + 1)];
}
