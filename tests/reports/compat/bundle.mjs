// Bundles scripts of an example as they are, with WebLLM's package replaced by ours.
// node bundle.mjs OURS.js OUT FOLDER SCRIPT…  prints {script: {file} | {error}} as JSON.
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";

const { build } = createRequire(new URL("../../../runtime-js/package.json", import.meta.url))("esbuild");
const [ours, out, base, ...scripts] = process.argv.slice(2);

/** Ours, which also tells the server what the example does. */
const told = `
import { Engine } from ${JSON.stringify(ours)};
export * from ${JSON.stringify(ours)};
const say = (what) => fetch(location.origin + "/said/" + what).catch(() => {});
const hear = (api) => {
  const { observe } = api;
  api.observe = (request, observer, extras) => {
    say("asked");
    const usage = (counted) => (say("answered"), observer?.usage(counted));
    const heard = { event: (event) => observer?.event(event), usage };
    return observe.call(api, request, heard, extras).catch((error) => (say("answered"), Promise.reject(error)));
  };
};
if (!Engine.told) {
  Engine.told = true;
  const { load } = Engine;
  const { generate } = Engine.prototype;
  Engine.load = async (...args) => {
    say("loading");
    const engine = await load.apply(Engine, args).finally(() => say("loaded"));
    say("ready");
    hear(engine.chat.completions);
    hear(engine.completions);
    return engine;
  };
  Engine.prototype.generate = function (...args) {
    say("generated");
    return generate.apply(this, args);
  };
}`;

const plugin = {
  name: "the alias",
  setup({ onResolve, onLoad }) {
    // also from a CDN, whose URL an import map can replace
    const names = /^(https:\/\/[^/]+\/(npm\/)?)?@mlc-ai\/web-llm(@[^/]+)?(\/\+esm)?$/;
    onResolve({ filter: names }, () => ({ path: "told", namespace: "told" }));
    onLoad({ filter: /.*/, namespace: "told" }, () => ({ contents: told, resolveDir: dirname(ours) }));
  },
};

const results = {};
for (const script of scripts) {
  const file = join(out, relative(base, script)).replace(/\.[cm]?[jt]sx?$/, ".js");
  try {
    await build({
      entryPoints: [script],
      outfile: file,
      bundle: true,
      format: "esm",
      target: "es2022",
      plugins: [plugin],
      nodePaths: (process.env.NODE_PATH ?? "").split(":").filter(Boolean),
      define: { "process.env.NODE_ENV": '"production"' },
      loader: { ".svg": "dataurl", ".png": "dataurl" },
      logLevel: "silent",
    });
    results[script] = { file: resolve(file) };
  } catch (error) {
    results[script] = { error: error.errors?.[0]?.text ?? String(error) };
  }
}
console.log(JSON.stringify(results));
