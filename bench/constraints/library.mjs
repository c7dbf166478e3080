// Makes an ES module and a .wasm file of @mlc-ai/web-xgrammar. Its package says "type": "module" and ships UMD, so
// neither a browser nor Node can import it as it is. The wasm, which it has as base64, goes into a file of its own.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "../../runtime-js/node_modules/esbuild/lib/main.js";

const HERE = path.dirname(fileURLToPath(import.meta.url));
export const PACKAGE = path.join(HERE, "node_modules/@mlc-ai/web-xgrammar");
const NAMES = ["Grammar", "GrammarCompiler", "CompiledGrammar", "GrammarMatcher", "TokenizerInfo", "Testings"];
const BASE64 = /"data:application\/octet-stream;base64,([A-Za-z0-9+/=]+)"/;
const START = "binding = await Module();";

/** Writes xgrammar.mjs and xgrammar.wasm into a folder, as the engine would ship them; returns their paths. */
export async function bundle(folder) {
  const source = fs.readFileSync(path.join(PACKAGE, "lib/index.js"), "utf8");
  const [literal, base64] = BASE64.exec(source);
  if (!source.includes(START)) throw Error("web-xgrammar's start has changed: look at library.mjs");
  const wasm = path.join(folder, "xgrammar.wasm");
  fs.writeFileSync(wasm, Buffer.from(base64, "base64"));
  const code = source
    .replace(literal, '"xgrammar.wasm"')
    .replaceAll(/require\('u' \+ 'rl'\)\.pathToFileURL\(__filename\)\.href/g, '""')
    .replace(START, "binding = await Module({ wasmBinary });")
    .replace("//# sourceMappingURL=index.js.map", "");
  const contents = `let wasmBinary; const exports = {}, module = { exports };
    ${code}
    export function setWasm(bytes) { wasmBinary = bytes; }
    export const { ${NAMES.join(", ")} } = exports;`;
  const js = path.join(folder, "xgrammar.mjs");
  await build({
    stdin: { contents, resolveDir: HERE },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    external: ["module", "url"],
    define: { process: "undefined", require: "undefined", define: "undefined", __filename: '""' },
    outfile: js,
    logLevel: "error",
  });
  return { js, wasm };
}

let instances = 0;

/** A new instance of the library, with the memory of its wasm, from files that `bundle` wrote (or now writes). */
export async function load(files) {
  const { js, wasm } = files ?? (await bundle(fs.mkdtempSync(path.join(os.tmpdir(), "xgrammar-"))));
  let memory;
  const { instantiate } = WebAssembly;
  WebAssembly.instantiate = async (...args) => {
    const result = await instantiate.apply(WebAssembly, args);
    const { exports } = result.instance ?? result;
    memory = Object.values(exports).find((value) => value instanceof WebAssembly.Memory);
    return result;
  };
  const library = await import(`${pathToFileURL(js)}?${++instances}`);
  library.setWasm(fs.readFileSync(wasm));
  return { ...library, megabytes: () => memory.buffer.byteLength / 2 ** 20 };
}
