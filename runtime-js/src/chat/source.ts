// Declares what the doors to an engine (src/openai, src/ai_sdk, src/prompt_api) ask of it. Engine has it, and so has
// any object of its shape.
import type { EmbeddingAnswer, EmbeddingRequest, RerankAnswer, RerankRequest } from "../embed/index.js";
import type { ChatTurn, RenderOptions } from "../text/template.js";
import type { ChatRequest, CompletionRequest } from "./request.js";
import type { ChatCompletion, ChatCompletionChunk, Completion } from "./types.js";

export interface ChatSource {
  /** `images`: the model takes pictures. */
  readonly info: { readonly name: string; readonly contextLength: number; readonly images?: boolean };
  readonly chat: {
    readonly completions: {
      create(request: ChatRequest): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>>;
      /** Of an engine that tells a request's prompt. */
      prompt?(request: ChatRequest): Promise<{ readonly tokens: readonly number[] }>;
    };
  };
  readonly completions: { create(request: CompletionRequest): Promise<Completion | AsyncIterable<Completion>> };
  interrupt(): void | Promise<void>;
  /** Of an engine that knows them, whatever its model is for. */
  readonly embeddings?: { create(request: EmbeddingRequest): Promise<EmbeddingAnswer> };
  rerank?(request: RerankRequest): Promise<RerankAnswer>;
}

/** The same with its tokenizer, for who counts tokens. */
export interface CountingSource extends ChatSource {
  encodeChat(messages: readonly ChatTurn[], options?: RenderOptions): number[] | Promise<number[]>;
}
