// Checks requests by WebLLM's names of these checks, without an engine.
import { parseChatRequest, parseCompletionRequest, type RequestFacts } from "../chat/request.js";
import { noInput } from "./errors.js";
import { refusal } from "./names.js";
import { prepare, refuseResumable } from "./requests.js";
import { ModelType } from "./types/config.js";
import type { ChatCompletionRequest, CompletionCreateParams, EmbeddingCreateParams } from "./types/openai.js";

/** Fields of OpenAI's that WebLLM does not take; none. */
export const ChatCompletionRequestUnsupportedFields: string[] = [];

/** Token ids are not checked: no model's vocabulary is known. */
const FACTS = { vocabSize: Infinity };
/** Nor are texts: no model's token for pictures is known. */
const ANY = { token: "", row: "" };

/** Throws InvalidRequestError, which names the field, for a request that no model answers. */
export function postInitAndCheckFieldsChatCompletion(
  request: ChatCompletionRequest,
  _currentModelId: string,
  currentModelType: ModelType,
  supportedInputKinds?: ReadonlySet<"image" | "audio">,
): void {
  const images = supportedInputKinds?.has("image") ?? currentModelType === ModelType.VLM;
  check(request, parseChatRequest, images ? { ...FACTS, images: ANY } : FACTS);
}

export function postInitAndCheckFieldsCompletion(request: CompletionCreateParams, _currentModelId: string): void {
  check(request, parseCompletionRequest, FACTS);
}

export function postInitAndCheckFieldsEmbedding({ input }: EmbeddingCreateParams, _currentModelId: string): void {
  if (input == null || input.length === 0) throw noInput();
}

/** Throws for a completion that is to survive a crash. */
export function rejectCompletionResumable(request: CompletionCreateParams): void {
  refuseResumable((request.extra_body as { resumable?: unknown } | undefined)?.resumable);
}

function check(request: object, parse: (body: unknown, facts: RequestFacts) => unknown, facts: RequestFacts): void {
  const { body } = prepare(request, {});
  try {
    parse(body, facts);
  } catch (error) {
    throw refusal(error, body);
  }
}
