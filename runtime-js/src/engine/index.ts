// The engine: loads a bundle onto the GPU, owns everything it allocated, and offers the APIs over it.
// WebLLM's names are in webllm.ts.
export { Engine, deleteFromCache, type EngineInfo } from "./engine.js";
export type { Activations, ChoiceReport } from "./activations.js";
export { type LoadOptions } from "./load.js";
export { type LoadProgress } from "./progress.js";
export type { ChatReport } from "./chats.js";
export { validate, type ValidationReport } from "./validate.js";
export { bench, type BenchOptions, type BenchReport } from "./bench.js";
export type { ProfileOptions, ProfileReport } from "../profile/index.js";
export { CreateMLCEngine, MLCEngine, type InitProgressReport, type MLCEngineConfig } from "./webllm.js";
