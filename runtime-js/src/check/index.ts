// This folder says before a download whether a bundle runs here, and how: Engine.check. It is a file of its own, which
// is fetched when a page asks.
export { check } from "./check.js";
export type { CheckOptions, EngineCheck, Reason, Speed } from "./report.js";
