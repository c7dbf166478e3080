// Turns the bodies of requests into the engine's requests, where OpenAI's HTTP API and the engine differ.
import type { ChatRequest, CompletionRequest } from "../chat/request.js";
import { refuse } from "./failures.js";

type Body = Readonly<Record<string, unknown>>;

/** Fields that say how OpenAI's servers bill, cache and watch, which have no meaning in a page. */
const OF_SERVERS = ["prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier"];

/** The engine checks all other fields, and refuses those that it does not know. */
export function chatRequest(body: Body, signal: AbortSignal): ChatRequest {
  return common(body, signal) as unknown as ChatRequest;
}

/** A completion's `logprobs` is how many there are, and its prompt may be a list of one. */
export function completionRequest(body: Body, signal: AbortSignal): CompletionRequest {
  const { logprobs, prompt, ...rest } = common(body, signal);
  if (typeof logprobs === "boolean") throw refuse("logprobs", "must be a number here.");
  if (Array.isArray(prompt) && prompt.length > 1) throw refuse("prompt", "has more than one text.");
  return {
    ...rest,
    prompt: Array.isArray(prompt) ? prompt[0] : prompt,
    ...(logprobs != null && { logprobs: true, top_logprobs: logprobs }),
  } as unknown as CompletionRequest;
}

/** Of embeddings, or of documents to rank. */
export function textsRequest<Asked>(body: Body, signal: AbortSignal): Asked {
  return common(body, signal) as unknown as Asked;
}

function common(body: Body, signal: AbortSignal): Record<string, unknown> {
  if (body.signal != null) throw refuse("signal", "is not a known parameter.");
  const known = Object.entries(body).filter(([name]) => !OF_SERVERS.includes(name));
  return { ...Object.fromEntries(known), signal };
}
