// Exports what a page needs for an engine in a worker.
export { type EngineAcross, WorkerEngine, type WorkerLoadOptions } from "./client.js";
export type { WorkerLike, WorkerSource } from "./dial.js";
export type { ExtensionPort } from "./wire.js";
