// Builds dist/ (the npm package) and ../mlcweb/engine/ (what `mlcweb serve` and the validator show: pages and engine).
// With --watch it goes on, and builds what changed.

import { mkdir, readdir, rm } from "node:fs/promises";
import { build, context } from "esbuild";

const watching = process.argv.includes("--watch");

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

/** Once, or again whenever a file that went into it changes. */
async function make(options) {
  if (watching) await (await context({ ...common, ...options })).watch();
  else await build({ ...common, ...options });
}

// The folders themselves stay: a server may be showing them.
for (const folder of [`${root}dist`, engine]) {
  await mkdir(folder, { recursive: true });
  if (!watching) for (const name of await readdir(folder)) await rm(`${folder}/${name}`, { recursive: true });
}
// Few pages constrain answers: that is a file beside mlcweb.js. It has errors from there, so that each class is there
// once.
const beside = (filter, path) => ({
  name: path,
  setup: ({ onResolve }) => onResolve({ filter }, () => ({ path, external: true })),
});
for (const outdir of ["dist", engine]) {
  const plugins = [beside(/constrain\/index\.js$/, "./constrain.js")];
  await make({ entryPoints: { mlcweb: "src/index.ts" }, outdir, plugins });
  const errors = [beside(/\/errors\.js$/, "./mlcweb.js")];
  await make({ entryPoints: { constrain: "src/constrain/index.ts" }, outdir, plugins: errors });
}
// The same engine in chunks: text is fetched while weights load, the profiler when it is asked for.
await make({ entryPoints: { core: "src/core.ts" }, outdir: "dist", splitting: true, chunkNames: "[name]-[hash]" });
const pages = (await readdir(`${root}pages`)).filter((name) => /\.(html|css)$/.test(name));
const page = {
  outdir: engine,
  external: ["./mlcweb.js"],
  alias: { mlcweb: "./mlcweb.js" },
  loader: { ".html": "copy", ".css": "copy" },
};
await make({
  ...page,
  entryPoints: ["chat.ts", "harness.ts", ...pages].map((name) => `pages/${name}`),
  plugins: [beside(/playground\/index\.js$/, "./playground.js")],
});
// Most who chat never open the playground.
const playground = { playground: "pages/playground/index.ts" };
await make({ ...page, entryPoints: playground });
await make({ ...page, entryPoints: { playground: "pages/playground/playground.css" } });
