// Offers an engine's requests in the places where OpenAI's client has them: chat.completions.create and the like.
import type { MLCEngineInterface } from "./types/engine.js";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequestBase,
  ChatCompletionRequestNonStreaming,
  ChatCompletionRequestStreaming,
  Completion,
  CompletionCreateParamsBase,
  CompletionCreateParamsNonStreaming,
  CompletionCreateParamsStreaming,
  CreateEmbeddingResponse,
  EmbeddingCreateParams,
} from "./types/openai.js";

export class Chat {
  readonly completions: ChatCompletions;
  constructor(engine: MLCEngineInterface) {
    this.completions = new ChatCompletions(engine);
  }
}

export class ChatCompletions {
  constructor(private readonly engine: MLCEngineInterface) {}
  create(request: ChatCompletionRequestNonStreaming): Promise<ChatCompletion>;
  create(request: ChatCompletionRequestStreaming): Promise<AsyncIterable<ChatCompletionChunk>>;
  create(request: ChatCompletionRequestBase): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion>;
  create(request: ChatCompletionRequestBase): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion> {
    return this.engine.chatCompletion(request);
  }
}

export class Completions {
  constructor(private readonly engine: MLCEngineInterface) {}
  create(request: CompletionCreateParamsNonStreaming): Promise<Completion>;
  create(request: CompletionCreateParamsStreaming): Promise<AsyncIterable<Completion>>;
  create(request: CompletionCreateParamsBase): Promise<AsyncIterable<Completion> | Completion>;
  create(request: CompletionCreateParamsBase): Promise<AsyncIterable<Completion> | Completion> {
    return this.engine.completion(request);
  }
}

export class Embeddings {
  constructor(private readonly engine: MLCEngineInterface) {}
  create(request: EmbeddingCreateParams): Promise<CreateEmbeddingResponse> {
    return this.engine.embedding(request);
  }
}
