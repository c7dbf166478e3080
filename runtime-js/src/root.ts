// Exports what the package's name means to a bundler: the engine, and WebLLM's names over it. An alias of WebLLM's
// package to this one resolves to it. Pages without a bundler import mlcweb.js or web-llm.js.
export * from "./index.js";
export * from "./webllm/index.js";
