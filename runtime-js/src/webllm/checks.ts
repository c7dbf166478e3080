// Checks requests by WebLLM's names of these checks, without an engine.
import { parseChatRequest, parseCompletionRequest } from "../chat/request.js";
import { unsupported } from "./errors.js";
import { prepare, refuseResumable } from "./requests.js";
import type { ModelType } from "./types/config.js";
import type { ChatCompletionRequest, CompletionCreateParams, EmbeddingCreateParams } from "./types/openai.js";

/** Fields of OpenAI's that WebLLM does not take; none. */
export const ChatCompletionRequestUnsupportedFields: string[] = [];

/** Token ids are not checked: no model's vocabulary is known. */
const FACTS = { vocabSize: Infinity };

/** Throws InvalidRequestError, which names the field, for a request that no model answers. */
export function postInitAndCheckFieldsChatCompletion(
  request: ChatCompletionRequest,
  _currentModelId: string,
  _currentModelType: ModelType,
  _supportedInputKinds?: ReadonlySet<"image" | "audio">,
): void {
  parseChatRequest(prepare(request, {}).body, FACTS);
}

export function postInitAndCheckFieldsCompletion(request: CompletionCreateParams, _currentModelId: string): void {
  parseCompletionRequest(prepare(request, {}).body, FACTS);
}

/** Always throws: no bundle computes embeddings yet. */
export function postInitAndCheckFieldsEmbedding(_request: EmbeddingCreateParams, currentModelId: string): void {
  throw unsupported("embeddings", `${currentModelId} computes none: no bundle does yet.`);
}

/** Throws for a completion that is to survive a crash. */
export function rejectCompletionResumable(request: CompletionCreateParams): void {
  refuseResumable((request.extra_body as { resumable?: unknown } | undefined)?.resumable);
}
