// This folder is what models that read whole texts need beyond the engine's core: their tokenizers, requests for
// embeddings and rankings, packing texts into calls, several calls on the GPU at a time, and their validation. The
// engine fetches it with the bundle of such a model.
import { code as own } from "./code.js";

/** For the engine, which alone knows its type. */
export const code: unknown = own;
export type { EmbeddingInput, EmbeddingRequest } from "./embeddings.js";
export type { RerankDocument, RerankRequest } from "./rerank.js";
export type * from "./types.js";
export type { TextReport } from "./validate.js";
