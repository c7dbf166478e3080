// This folder is the OpenAI-shaped API over the decode loop. It checks requests field by field, and answers whole or as
// a stream, with usage. One request runs at a time; the others wait in order.
export { type Answer, type AnswerSource, generateAnswer } from "./answer.js";
export { ChatCompletions, Completions } from "./completions.js";
export { inTurn, Queue, type Turn } from "./queue.js";
export {
  type ChatRequest,
  type CompletionRequest,
  type ParsedRequest,
  parseChatRequest,
  parseCompletionRequest,
  parseSampling,
  type SamplingRequest,
} from "./request.js";
export type { AnswerFormat, AnswerRules, ResponseFormat } from "./response_format.js";
export type { Backend, ChoiceEvent, HostExtras, Observer } from "./stream.js";
export * from "./types.js";
export type { Delta } from "./words.js";
