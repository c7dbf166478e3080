// The OpenAI-shaped API over the decode loop: requests checked field by field, answers whole or streamed, with usage.
// One request runs at a time; the others wait in order.

export { type Answer, Answerer, type AnswerSource } from "./answer.js";
export { ChatCompletions, Completions } from "./completions.js";
export { inTurn, Queue, type Turn } from "./queue.js";
export { type ParsedRequest, parseChatRequest, parseCompletionRequest } from "./request.js";
export * from "./types.js";
