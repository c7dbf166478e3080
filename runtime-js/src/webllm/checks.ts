// Checks requests by WebLLM's names of these checks, without an engine.
import { parseChatRequest, parseCompletionRequest, type RequestFacts } from "../chat/request.js";
import { noInput } from "./errors.js";
import { refusal } from "./names.js";
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
  check(request, parseChatRequest);
}

export function postInitAndCheckFieldsCompletion(request: CompletionCreateParams, _currentModelId: string): void {
  check(request, parseCompletionRequest);
}

export function postInitAndCheckFieldsEmbedding({ input }: EmbeddingCreateParams, _currentModelId: string): void {
  if (input == null || input.length === 0) throw noInput();
}

/** Throws for a completion that is to survive a crash. */
export function rejectCompletionResumable(request: CompletionCreateParams): void {
  refuseResumable((request.extra_body as { resumable?: unknown } | undefined)?.resumable);
}

function check(request: object, parse: (body: unknown, facts: RequestFacts) => unknown): void {
  const { body } = prepare(request, {});
  try {
    parse(body, FACTS);
  } catch (error) {
    throw refusal(error, body);
  }
}
