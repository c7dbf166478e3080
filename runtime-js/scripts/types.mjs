// Writes dist/types/: what tsc declared, rolled into a file for each entry of package.json and the few that they share.
// So pages' compilers see what is public and nothing else, and need none of the types that only the engine's insides
// use, such as WebGPU's.
import { readFile, rename, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { dts } from "rolldown-plugin-dts";

const root = fileURLToPath(new URL("..", import.meta.url));
const declared = `${root}dist/declared`;
const { exports: entries } = JSON.parse(await readFile(`${root}package.json`, "utf8"));

/** Where tsc declares what an entry's script is made of. */
const sources = {
  "web-llm": "webllm/index",
  worker: "worker/page",
  serve: "worker/serve_engine",
  "serve-service": "worker/serve_service",
  "ai-sdk": "ai_sdk/index",
  "prompt-api": "prompt_api/index",
  constrain: "constrain/index",
  cpu: "cpu/index",
  embed: "embed/index",
  images: "images/index",
  catalog: "catalog/index",
  openai: "openai/index",
};
const names = Object.values(entries).map(({ types }) => types.replace(/^.*\/|\.d\.ts$/g, ""));
const bundle = await rolldown({
  input: Object.fromEntries(names.map((name) => [name, `${declared}/${sources[name] ?? name}.d.ts`])),
  external: /^[^./]/,
  plugins: [dts({ dtsInput: true, tsconfig: false })],
});
await bundle.write({ dir: `${root}dist/rolled`, chunkFileNames: "shared-[hash].d.ts" });
await rm(declared, { recursive: true });
await rename(`${root}dist/rolled`, `${root}dist/types`);
