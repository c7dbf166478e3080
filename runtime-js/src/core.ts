// The engine without the tokenizer and template code, which it fetches as a chunk of its own while weights load.
export * from "./errors.js";
export * from "./engine/index.js";
export type { GenerateRequest } from "./engine/engine.js";
export type { GenerateEnd, GeneratedToken, TokenLogprobs } from "./decode/index.js";
export type * from "./chat/types.js";
export type { ChatTurn, RenderOptions } from "./text/template.js";
export type { FetchLike, Manifest, Warning } from "./bundle/index.js";
export { probe, type ProbeReport } from "./device/probe.js";
