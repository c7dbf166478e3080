// Declares the answers of models that read texts: OpenAI's for embeddings, and Cohere's and Jina's for rerankers.

/** How far a request is, in texts. */
export interface TextsProgress {
  readonly done: number;
  readonly total: number;
}

export interface TextsUsage {
  prompt_tokens: number;
  total_tokens: number;
  extra: { e2e_latency_s: number; prefill_tokens_per_s: number };
}

export interface EmbeddingData {
  object: "embedding";
  index: number;
  /** Numbers, or base64 of them as little-endian float32. */
  embedding: number[] | string;
}
export interface EmbeddingAnswer {
  object: "list";
  data: EmbeddingData[];
  model: string;
  usage: TextsUsage;
}

export interface RerankResult {
  index: number;
  /** The larger, the more relevant: from 0 to 1 where the model's activation is a sigmoid. */
  relevance_score: number;
  document?: { text: string };
}
export interface RerankAnswer {
  object: "list";
  id: string;
  model: string;
  /** The most relevant first. */
  results: RerankResult[];
  usage: TextsUsage;
  meta: { tokens: { input_tokens: number; output_tokens: 0 } };
}
