// Declares requests by WebLLM's names. What a request may have is as in chat/request.ts; answers are chat/types.ts's.
import type { ChatRequest, CompletionRequest } from "../../chat/request.js";
import type {
  AnswerMessage,
  AnswerToolCall,
  ChatTool,
  ContentLogprob,
  FinishReason,
  TextPart,
  TokenLogprob,
  Usage,
} from "../../chat/types.js";
import type { ResumableGenerationConfig } from "./resumable.js";

export type { ResponseFormat } from "../../chat/response_format.js";
export type { ChatCompletion, ChatCompletionChunk, Completion, CompletionChoice } from "../../chat/types.js";
export type TopLogprob = TokenLogprob;
export type ChatCompletionTokenLogprob = ContentLogprob;
export type ChatCompletionMessage = AnswerMessage;
export type CompletionUsage = Usage;
export type ChatCompletionFinishReason = FinishReason;
export type ChatCompletionRole = "system" | "user" | "assistant" | "tool" | "function";

export type ChatCompletionContentPartText = TextPart;
export interface ChatCompletionContentPartImage {
  type: "image_url";
  image_url: ChatCompletionContentPartImage.ImageURL;
}
export namespace ChatCompletionContentPartImage {
  export interface ImageURL {
    url: string;
    detail?: "auto" | "low" | "high";
  }
}
export interface ChatCompletionAudioInputWav {
  format: "wav";
  data: string;
}
export interface ChatCompletionAudioInputPCM {
  format: "pcm_f32";
  data: Float32Array;
  sample_rate: number;
}
export type ChatCompletionAudioInput = ChatCompletionAudioInputWav | ChatCompletionAudioInputPCM;
export interface ChatCompletionContentPartInputAudio {
  type: "input_audio";
  input_audio: ChatCompletionAudioInput;
}
/** Images are for models that take some. Audio is refused by name: no bundle takes it yet. */
export type ChatCompletionContentPart =
  | ChatCompletionContentPartText
  | ChatCompletionContentPartImage
  | ChatCompletionContentPartInputAudio;

export type ChatCompletionMessageToolCall = AnswerToolCall;
export namespace ChatCompletionMessageToolCall {
  export type Function = AnswerToolCall["function"];
}
export interface ChatCompletionSystemMessageParam {
  role: "system";
  content: string;
}
export interface ChatCompletionUserMessageParam {
  role: "user";
  content: string | ChatCompletionContentPart[];
  name?: string;
}
export interface ChatCompletionAssistantMessageParam {
  role: "assistant";
  content?: string | null;
  name?: string;
  tool_calls?: ChatCompletionMessageToolCall[];
}
export interface ChatCompletionToolMessageParam {
  role: "tool";
  content: string;
  tool_call_id: string;
}
export type ChatCompletionMessageParam =
  | ChatCompletionSystemMessageParam
  | ChatCompletionUserMessageParam
  | ChatCompletionAssistantMessageParam
  | ChatCompletionToolMessageParam;

export type FunctionParameters = Record<string, unknown>;
export type FunctionDefinition = ChatTool["function"];
export type ChatCompletionTool = ChatTool;
export interface ChatCompletionNamedToolChoice {
  type: "function";
  function: ChatCompletionNamedToolChoice.Function;
}
export namespace ChatCompletionNamedToolChoice {
  export interface Function {
    name: string;
  }
}
export type ChatCompletionToolChoiceOption = "none" | "auto" | "required" | ChatCompletionNamedToolChoice;

/** What of a request has no place in OpenAI's. */
export interface ExtraBody {
  /** A variable of the model's chat template, such as Qwen3's. */
  enable_thinking?: boolean | null | undefined;
  /** Samples on the CPU, and notes what that takes for each token. */
  enable_latency_breakdown?: boolean | null | undefined;
  /** Refused where it is enabled. */
  resumable?: ResumableGenerationConfig | null | undefined;
}
export interface ChatCompletionRequestBase extends Omit<ChatRequest, "messages" | "extra_body" | "stream"> {
  messages: ChatCompletionMessageParam[];
  stream?: boolean | null;
  extra_body?: ExtraBody;
}
export interface ChatCompletionRequestNonStreaming extends ChatCompletionRequestBase {
  stream?: false | null;
}
export interface ChatCompletionRequestStreaming extends ChatCompletionRequestBase {
  stream: true;
}
export type ChatCompletionRequest = ChatCompletionRequestNonStreaming | ChatCompletionRequestStreaming;

export interface CompletionCreateParamsBase extends Omit<CompletionRequest, "stream"> {
  prompt: string;
  stream?: boolean | null;
  /** Refused, as in WebLLM. */
  suffix?: string | null;
  /** Refused, as in WebLLM. */
  best_of?: number | null;
  extra_body?: Pick<ExtraBody, "enable_latency_breakdown">;
}
export interface CompletionCreateParamsNonStreaming extends CompletionCreateParamsBase {
  stream?: false | null;
}
export interface CompletionCreateParamsStreaming extends CompletionCreateParamsBase {
  stream: true;
}
export type CompletionCreateParams = CompletionCreateParamsNonStreaming | CompletionCreateParamsStreaming;

export interface EmbeddingCreateParams {
  input: string | string[] | number[] | number[][];
  model?: string | null;
  encoding_format?: "float" | "base64";
  dimensions?: number;
  user?: string;
}
export interface Embedding {
  object: "embedding";
  index: number;
  embedding: number[];
}
export interface CreateEmbeddingResponse {
  object: "list";
  model: string;
  data: Embedding[];
  usage: CreateEmbeddingResponse.Usage;
}
export namespace CreateEmbeddingResponse {
  export interface Usage {
    prompt_tokens: number;
    total_tokens: number;
    extra: { prefill_tokens_per_s: number };
  }
}
