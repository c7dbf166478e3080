// Builds dist/ (the npm package) and ../mlcweb/engine/ (what `mlcweb serve` and the validator show: pages and engine).
// With --watch it goes on, and builds what changed.

import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build, context } from "esbuild";
import { licencesOf } from "./licences.mjs";

const watching = process.argv.includes("--watch");

const root = fileURLToPath(new URL("..", import.meta.url));
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
  metafile: true,
};
const inputs = new Set();

/** Once, or again whenever a file that went into it changes. */
async function make(options) {
  if (watching) await (await context({ ...common, ...options })).watch();
  else for (const path of Object.keys((await build({ ...common, ...options })).metafile.inputs)) inputs.add(path);
}

// The folders themselves stay: a server may be showing them.
for (const folder of [`${root}dist`, engine]) {
  await mkdir(folder, { recursive: true });
  if (!watching) for (const name of await readdir(folder)) await rm(`${folder}/${name}`, { recursive: true });
}
// Few pages constrain answers, read catalogs, check models, lack WebGPU, embed texts or have pictures: each is a file
// beside // mlcweb.js. It has errors from there, so that each class is there once.
const beside = (filter, path) => ({
  name: path,
  setup: ({ onResolve }) => onResolve({ filter }, () => ({ path, external: true })),
});
// WebLLM's names are a file too, which has the engine and its errors from mlcweb.js.
const besideEngine = {
  name: "beside the engine",
  setup: ({ onResolve }) =>
    onResolve({ filter: /\/(errors|index)\.js$/ }, ({ path, resolveDir }) =>
      ["errors.js", "index.js"].some((file) => resolve(resolveDir, path) === `${root}src/${file}`)
        ? { path: "./mlcweb.js", external: true }
        : undefined,
    ),
};
for (const outdir of ["dist", engine]) {
  const plugins = ["carriers", "constrain", "catalog", "check", "cpu", "embed", "images"].map((name) =>
    beside(RegExp(`${name}/index\\.js$`), `./${name}.js`),
  );
  await make({ entryPoints: { mlcweb: "src/index.ts" }, outdir, plugins });
  const errors = [beside(/\/errors\.js$/, "./mlcweb.js")];
  await make({ entryPoints: { constrain: "src/constrain/index.ts" }, outdir, plugins: errors });
  await make({ entryPoints: { catalog: "src/catalog/index.ts" }, outdir, plugins: errors });
  const checks = [...errors, beside(/catalog\/index\.js$/, "./catalog.js")];
  await make({ entryPoints: { check: "src/check/index.ts" }, outdir, plugins: checks });
  const worker = beside(/cpu\/worker\.js$|^\.\/worker\.js$/, "./cpu-worker.js");
  await make({ entryPoints: { cpu: "src/cpu/index.ts" }, outdir, plugins: [...errors, worker] });
  await make({ entryPoints: { "cpu-worker": "src/cpu/worker.ts" }, outdir });
  await make({ entryPoints: { embed: "src/embed/index.ts" }, outdir, plugins: errors });
  await make({ entryPoints: { images: "src/images/index.ts" }, outdir, plugins: errors });
  // What brings weights: what the page has of it, and its workers' script.
  const carriers = { carriers: "src/carriers/index.ts", "carrier-worker": "src/carriers/worker.ts" };
  await make({ entryPoints: carriers, outdir, plugins: errors });
  await make({ entryPoints: { "web-llm": "src/webllm/index.ts" }, outdir, plugins: [besideEngine] });
  // An engine in a worker: what the page has of it, and two of what the worker has.
  const besides = [...checks, beside(/check\/index\.js$/, "./check.js")];
  await make({ entryPoints: { worker: "src/worker/page.ts" }, outdir, plugins: besides });
  const all = beside(/\/errors\.js$|engine\/index\.js$/, "./mlcweb.js");
  await make({ entryPoints: { serve: "src/worker/serve_engine.ts" }, outdir, plugins: [all] });
  const static_ = ["constrain", "embed", "images"].map((name) => beside(RegExp(`${name}/index\\.js$`), `./${name}.js`));
  static_.push(beside(/serve_engine\.js$/, "./serve.js"));
  await make({ entryPoints: { "serve-service": "src/worker/serve_service.ts" }, outdir, plugins: static_ });
  // The doors are files of their own too. `mlcweb serve --api` uses this one.
  await make({ entryPoints: { openai: "src/openai/index.ts" }, outdir });
}
const doors = { "ai-sdk": "src/ai_sdk/index.ts", "prompt-api": "src/prompt_api/index.ts" };
await make({ entryPoints: doors, outdir: "dist", plugins: [beside(/\/engine\/index\.js$/, "./mlcweb.js")] });
// The package's root: the engine and WebLLM's names. A bundler takes what is used of both files.
await make({
  entryPoints: { root: "src/root.ts" },
  outdir: "dist",
  plugins: [besideEngine, beside(/webllm/, "./web-llm.js")],
});
// The same engine in chunks: text is fetched while weights load, the profiler when it is asked for.
await make({ entryPoints: { core: "src/core.ts" }, outdir: "dist", splitting: true, chunkNames: "[name]-[hash]" });
const pages = (await readdir(`${root}pages`)).filter((name) => /\.(html|css|txt)$/.test(name));
const page = {
  outdir: engine,
  external: ["./mlcweb.js", "./openai.js", "./catalog.js"],
  alias: { mlcweb: "./mlcweb.js", "mlcweb/openai": "./openai.js", "mlcweb/catalog": "./catalog.js" },
  loader: { ".html": "copy", ".css": "copy", ".txt": "copy" },
};
await make({
  ...page,
  entryPoints: ["chat.ts", "search.ts", "harness.ts", ...pages].map((name) => `pages/${name}`),
  plugins: [
    beside(/playground\/index\.js$/, "./playground.js"),
    beside(/\/models\.js$/, "./models.js"),
    beside(/\/errors\.js$/, "./mlcweb.js"),
    beside(/carriers\/index\.js$/, "./carriers.js"),
  ],
});
// Most who chat never open the playground, and few choose from a catalog.
const playground = { playground: "pages/playground/index.ts" };
await make({ ...page, entryPoints: playground });
await make({ ...page, entryPoints: { models: "pages/models.ts" } });
await make({ ...page, entryPoints: { playground: "pages/playground/playground.css" } });
if (!watching) {
  const licences = await licencesOf(root, inputs);
  for (const folder of [`${root}dist`, engine]) await writeFile(`${folder}/THIRD_PARTY_LICENSES.txt`, licences);
}
