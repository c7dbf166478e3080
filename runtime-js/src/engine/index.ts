// This folder is the engine. It loads a bundle onto the GPU, owns everything that it allocated, and offers the APIs
// over it.

export type { CheckOptions, EngineCheck } from "../check/index.js";
export type { DebugLevel } from "../log.js";
export type { ProfileOptions, ProfileReport } from "../profile/index.js";
export type { Activations, ChoiceReport } from "./activations.js";
export { type BenchOptions, type BenchReport, bench } from "./bench.js";
export { deleteFromCache, isInCache } from "./cached.js";
export { type CataloguedModel, findInCatalog } from "./catalogued.js";
export type { ChatReport } from "./chats.js";
export { Engine, type EngineInfo } from "./engine.js";
export type { LoadOptions } from "./options.js";
export type { LoadProgress } from "./progress.js";
export { type ValidationReport, validate } from "./validate.js";
