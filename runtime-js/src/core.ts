// Exports the engine without the tokenizer and template code, which it fetches as a chunk of its own while weights
// load.

export type { FetchLike, Manifest, Warning } from "./bundle/index.js";
export type { ListedModel } from "./catalog/index.js";
export type { ChatRequest, CompletionRequest, SamplingRequest } from "./chat/request.js";
export type { ResponseFormat } from "./chat/response_format.js";
export type { ChatSource } from "./chat/source.js";
export type * from "./chat/types.js";
export type { GeneratedToken, GenerateEnd, TokenLogprobs } from "./decode/index.js";
export { type ProbeReport, probe } from "./device/probe.js";
export type {
  EmbeddingAnswer,
  EmbeddingData,
  EmbeddingInput,
  EmbeddingRequest,
  RerankAnswer,
  RerankDocument,
  RerankRequest,
  RerankResult,
  TextsProgress,
  TextsUsage,
} from "./embed/index.js";
export type { GenerateRequest } from "./engine/engine.js";
export * from "./engine/index.js";
export * from "./errors.js";
export type { Content, ContentPart, ImageSource, PicturePart, WordsPart } from "./text/content.js";
export type { ChatTurn, RenderOptions } from "./text/template.js";
