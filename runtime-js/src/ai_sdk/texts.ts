// Makes the AI SDK's models of embeddings and of rankings over an engine.
import type { EmbeddingModelV4, RerankingModelV4 } from "@ai-sdk/provider";
import type { ChatSource } from "../chat/source.js";
import type { EmbeddingRequest, RerankRequest } from "../embed/index.js";
import { bySignal, unsupported } from "./errors_of_sdk.js";

/** An embedding model for embed and embedMany. `providerOptions.mlcweb` are parameters of the engine's, such as
 * `prompt_name`. */
export const mlcwebEmbedding = (engine: ChatSource): EmbeddingModelV4 => ({
  specificationVersion: "v4",
  provider: "mlcweb",
  modelId: engine.info.name,
  maxEmbeddingsPerCall: Infinity, // the engine packs them into calls
  supportsParallelCalls: true, // they queue
  async doEmbed({ values, abortSignal: signal, providerOptions }) {
    if (!engine.embeddings) throw unsupported("embeddings of this engine");
    const request = { ...providerOptions?.mlcweb, input: values, ...(signal && { signal }) } as EmbeddingRequest;
    const { data, usage } = await bySignal(signal, engine.embeddings.create(request));
    return {
      embeddings: data.map(({ embedding }) => embedding as number[]),
      usage: { tokens: usage.total_tokens },
      warnings: [],
    };
  },
});

/** A reranking model for rerank. Documents that are objects are ranked as their JSON. */
export const mlcwebReranking = (engine: ChatSource): RerankingModelV4 => ({
  specificationVersion: "v4",
  provider: "mlcweb",
  modelId: engine.info.name,
  async doRerank({ query, documents: given, topN, abortSignal: signal, providerOptions }) {
    if (!engine.rerank) throw unsupported("ranking by this engine");
    const documents = given.type === "text" ? given.values : given.values.map((value) => JSON.stringify(value));
    const request: RerankRequest = {
      ...providerOptions?.mlcweb,
      query,
      documents,
      ...(topN !== undefined && { top_n: topN }),
      ...(signal && { signal }),
    };
    const { id, model, results } = await bySignal(signal, engine.rerank(request));
    return {
      ranking: results.map(({ index, relevance_score }) => ({ index, relevanceScore: relevance_score })),
      warnings: [],
      response: { id, modelId: model },
    };
  },
});
