// Makes the AI SDK's language model over an engine, and a provider of several.
import type {
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4GenerateResult,
  LanguageModelV4StreamResult,
  ProviderV4,
} from "@ai-sdk/provider";
import { readable } from "../chat/readable.js";
import type { ChatSource } from "../chat/source.js";
import type { ChatCompletion, ChatCompletionChunk } from "../chat/types.js";
import { bySignal, noSuchModel } from "./errors_of_sdk.js";
import { contentOf, partsOf, reasonOf, usageOf } from "./parts.js";
import { requestOf } from "./request.js";
import { mlcwebEmbedding, mlcwebReranking } from "./texts.js";

/** A language model for generateText, streamText and the rest of the AI SDK. */
export const mlcweb = (engine: ChatSource): LanguageModelV4 => new EngineModel(engine);

/** A provider of engines by name, as for a registry: each for what its model does. */
export function createMlcweb(engines: Readonly<Record<string, ChatSource>>): ProviderV4 {
  const find = (modelId: string, type: string): ChatSource => {
    if (Object.hasOwn(engines, modelId)) return engines[modelId]!;
    const known = Object.keys(engines).join(", ");
    throw noSuchModel(modelId, type, `There is no engine named ${modelId}: there is ${known}.`);
  };
  return {
    specificationVersion: "v4",
    languageModel: (modelId) => mlcweb(find(modelId, "languageModel")),
    embeddingModel: (modelId) => mlcwebEmbedding(find(modelId, "embeddingModel")),
    rerankingModel: (modelId) => mlcwebReranking(find(modelId, "rerankingModel")),
    imageModel: (modelId) => {
      throw noSuchModel(modelId, "imageModel", `mlcweb makes no images, so ${modelId} is no imageModel.`);
    },
  };
}

class EngineModel implements LanguageModelV4 {
  readonly specificationVersion = "v4";
  readonly provider = "mlcweb";
  readonly modelId: string;
  /** The engine fetches pictures itself. */
  readonly supportedUrls = { "image/*": [/^(https?|data|blob):/i] };

  constructor(private readonly engine: ChatSource) {
    this.modelId = engine.info.name;
  }

  async doGenerate(options: LanguageModelV4CallOptions): Promise<LanguageModelV4GenerateResult> {
    const { request, warnings } = requestOf(options, this.engine.info.images ?? false);
    const { abortSignal: signal } = options;
    const answer = (await bySignal(
      signal,
      this.engine.chat.completions.create({ ...request, stream: false, ...(signal && { signal }) }),
    )) as ChatCompletion;
    const { id, created, model, usage, choices } = answer;
    const { message, finish_reason: reason } = choices[0]!;
    return {
      content: contentOf(message),
      finishReason: reasonOf(reason),
      usage: usageOf(usage),
      warnings,
      request: { body: request },
      response: { id, timestamp: new Date(created * 1000), modelId: model, body: answer },
    };
  }

  async doStream(options: LanguageModelV4CallOptions): Promise<LanguageModelV4StreamResult> {
    const { request, warnings } = requestOf(options, this.engine.info.images ?? false);
    const { abortSignal: signal, includeRawChunks } = options;
    signal?.throwIfAborted();
    const stop = new AbortController();
    const chunks = (await this.engine.chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
      signal: stop.signal,
    })) as AsyncIterable<ChatCompletionChunk>;
    const stream = readable(partsOf(chunks, warnings, includeRawChunks ?? false), signal, stop);
    return { stream, request: { body: request } };
  }
}
