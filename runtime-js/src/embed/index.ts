// This folder is what models that read whole texts need beyond the engine's core: their tokenizers, requests for
// embeddings and rankings, packing texts into calls, several calls on the GPU at a time, and their validation. The
// engine fetches it with the bundle of such a model.
export { correctEncoder } from "../text/encoders.js";
export { checkTextManifest, checkTextPlan } from "./check.js";
export type { EmbeddingInput, EmbeddingRequest } from "./embeddings.js";
export { openTexts } from "./open.js";
export type { RerankDocument, RerankRequest } from "./rerank.js";
export type { Texts } from "./texts.js";
export type * from "./types.js";
export type { TextReport } from "./validate.js";
