// Opens wllama, which is llama.cpp in Wasm, on the CPU or on WebGPU.
import { Wllama } from "/modules/@wllama/wllama/esm/index.js";

const INFO = 2;

export async function open({ gguf, threads, gpu, contextLength }) {
  const devices = new Set();
  const hear = (...said) => {
    // Where the weights are, which is nowhere in its interface.
    const [, device] = /(\S+) model buffer size/.exec(said.join(" ")) ?? [];
    if (device) devices.add(device);
  };
  const wllama = new Wllama(
    { default: new URL("/modules/@wllama/wllama/esm/wasm/wllama.wasm", location.href).href },
    { logger: { debug: hear, log: hear, warn: hear, error: hear } },
  );
  await wllama.loadModelFromUrl(new URL(gguf, location.href).href, {
    useCache: true,
    n_ctx: contextLength,
    n_threads: threads,
    n_gpu_layers: gpu ? 999 : 0,
    log_level: INFO,
  });
  if (gpu && ![...devices].some((device) => /webgpu/i.test(device)))
    throw new Error(
      `llama.cpp takes no WebGPU adapter here (its weights are on: ${[...devices].join(", ") || "unknown"})`,
    );
  const used = wllama.getNumThreads();
  return {
    about: `llama.cpp ${Wllama.getLibllamaVersion()}, ${gpu ? "WebGPU" : `${used} thread${used > 1 ? "s" : ""}`}`,
    close: () => wllama.exit(),
    async *answer(prompt, tokens) {
      const chunks = await wllama.createCompletion({
        prompt,
        max_tokens: tokens,
        temperature: 0,
        ignore_eos: true,
        cache_prompt: false,
        stream: true,
      });
      for await (const chunk of chunks) {
        if (chunk.choices[0]?.finish_reason)
          yield { end: true, promptTokens: chunk.usage.prompt_tokens, tokens: chunk.usage.completion_tokens };
        else yield {};
      }
    },
  };
}
