// Loads Transformers.js and its ONNX Runtime from a folder that bench/peers/runtime.py wrote, and no model from a hub.

const RUNTIME = "/peer/runtime/";

/** The library, set to models in /peer/models/. */
export async function transformers() {
  const library = await import(`${RUNTIME}transformers.min.js`);
  const { env } = library;
  Object.assign(env, {
    allowRemoteModels: false,
    allowLocalModels: true,
    localModelPath: "/peer/models/",
    useBrowserCache: false,
    useWasmCache: false,
  });
  const files = new URL(`${RUNTIME}ort-wasm-simd-threaded.asyncify`, location.href).href;
  // by itself it takes half of them, and four at most
  env.backends.onnx.wasm.numThreads = navigator.hardwareConcurrency;
  env.backends.onnx.wasm.wasmPaths = { mjs: `${files}.mjs`, wasm: `${files}.wasm` };
  return library;
}

/** How long `work` takes, in seconds, and what it makes. */
export async function timed(work) {
  const start = performance.now();
  const made = await work();
  return { seconds: (performance.now() - start) / 1000, made };
}

export const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

/** The same whole numbers below `below` at every call. */
export function numbers(count, below) {
  let state = 12345;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  });
}
