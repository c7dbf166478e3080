// Builds dist/ (the npm package) and ../mlcweb/engine/ (what `mlcweb serve` and the validator show: pages and engine).

import { cp, mkdir, readdir, rm } from "node:fs/promises";
import { build } from "esbuild";

const root = new URL("..", import.meta.url).pathname;
const engine = `${root}../mlcweb/engine`;
const common = {
  absWorkingDir: root,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  sourcemap: true,
  legalComments: "none",
  logLevel: "warning",
};

await rm(`${root}dist`, { recursive: true, force: true });
await build({ ...common, entryPoints: { mlcweb: "src/index.ts" }, outdir: "dist" });
// The same engine in chunks: text is fetched while weights load, the profiler when it is asked for.
await build({
  ...common,
  entryPoints: { core: "src/core.ts" },
  outdir: "dist",
  splitting: true,
  chunkNames: "[name]-[hash]",
});

// The folder itself stays: a server may be showing it.
await mkdir(engine, { recursive: true });
for (const name of await readdir(engine)) await rm(`${engine}/${name}`, { recursive: true });
await build({
  ...common,
  entryPoints: { chat: "pages/chat.ts", harness: "pages/harness.ts" },
  outdir: engine,
  external: ["./mlcweb.js"],
  alias: { mlcweb: "./mlcweb.js" },
});
for (const page of await readdir(`${root}pages`))
  if (/\.(html|css)$/.test(page)) await cp(`${root}pages/${page}`, `${engine}/${page}`);
for (const name of ["mlcweb.js", "mlcweb.js.map"]) await cp(`${root}dist/${name}`, `${engine}/${name}`);
