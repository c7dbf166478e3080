// Declares the messages and answers of OpenAI's chat completions, as far as mlcweb implements them. request.ts declares
// the other fields of a request. In requests null means not given.
import type { ImageSource } from "../text/content.js";

export interface TextPart {
  type: "text";
  text: string;
}
/** A picture by its URL: data:, https:, http: or blob:. With the detail "low" the model gets the whole picture in
 * little; with "high" and "auto" it also gets what models that split pictures see of it in large. */
export interface ImageUrlPart {
  type: "image_url";
  image_url: string | { url: string; detail?: "auto" | "low" | "high" | null };
}
/** A picture that a page has, such as a File. */
export interface ImagePart {
  type: "image";
  image: ImageSource;
  detail?: "auto" | "low" | "high" | null;
}
/** Pictures may stand in the user's messages, where the model takes some. */
export type MessagePart = TextPart | ImageUrlPart | ImagePart;
/** A function that the model may call; `parameters` is a JSON Schema. */
export interface ChatTool {
  type: "function";
  function: {
    name: string;
    description?: string | null;
    parameters?: Record<string, unknown> | null;
    strict?: boolean | null;
  };
}
/** `arguments` is a JSON object, in a string as OpenAI has it or not. */
export interface ChatToolCall {
  id?: string | null;
  type?: "function";
  function: { name: string; arguments: string | Record<string, unknown> };
}
export interface ChatMessage {
  role: "system" | "developer" | "user" | "assistant" | "tool";
  /** May be null beside tool_calls. */
  content?: string | MessagePart[] | null;
  name?: string | null;
  tool_calls?: ChatToolCall[] | null;
  tool_call_id?: string | null;
  reasoning_content?: string | null;
}

export type FinishReason = "stop" | "length" | "tool_calls" | "abort";
export interface TokenLogprob {
  token: string;
  logprob: number;
  bytes: number[];
}
export interface ContentLogprob extends TokenLogprob {
  top_logprobs: TokenLogprob[];
}
export interface Logprobs {
  content: ContentLogprob[];
}
/** Seconds of what the CPU does for each token, where a request asks for it. A type, so that it is any JSON too. */
export type LatencyBreakdown = {
  logitProcessorTime: number[];
  logitBiasTime: number[];
  /** Penalties are a part of sampling here, and not timed by themselves: empty. */
  penaltyTime: number[];
  sampleTime: number[];
  totalTime: number[];
  grammarBitmaskTime: number[];
};
type ChatLogprobs = Logprobs; // by a name that the namespaces below do not hide
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  /** Of models that reason. */
  completion_tokens_details?: { reasoning_tokens: number };
  extra: {
    /** From the request until the answer's end, with the wait for other requests. */
    e2e_latency_s: number;
    prefill_tokens_per_s: number;
    decode_tokens_per_s: number;
    time_to_first_token_s: number;
    time_per_output_token_s: number;
    cached_prompt_tokens: number;
    /** Of answers that are held to rules: making the grammar, and what it takes for a token. */
    grammar_init_s?: number;
    grammar_per_token_s?: number;
    latencyBreakdown?: LatencyBreakdown;
  };
}
/** A call that the model makes. `arguments` is JSON as the model wrote it, perhaps cut; nobody checked it. */
export interface AnswerToolCall {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}
export interface AnswerMessage {
  role: "assistant";
  /** null where there are calls or reasoning, and no words. */
  content: string | null;
  tool_calls?: AnswerToolCall[];
  reasoning_content?: string;
}
/** What is new of a call: `id`, `type` and the name come with its first. */
export interface ToolCallDelta {
  index: number;
  id?: string;
  type?: "function";
  function: { name?: string; arguments: string };
}
export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: ChatCompletion.Choice[];
  usage: Usage;
}
export namespace ChatCompletion {
  export interface Choice {
    index: number;
    message: AnswerMessage;
    logprobs: Logprobs | null;
    finish_reason: FinishReason;
  }
  export namespace Choice {
    export type Logprobs = ChatLogprobs;
  }
}
export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  choices: ChatCompletionChunk.Choice[];
  usage?: Usage;
}
export namespace ChatCompletionChunk {
  export interface Choice {
    index: number;
    delta: Choice.Delta;
    logprobs: Logprobs | null;
    finish_reason: FinishReason | null;
  }
  export namespace Choice {
    export interface Delta {
      role?: "assistant";
      content?: string;
      reasoning_content?: string;
      tool_calls?: ToolCallDelta[];
    }
    export namespace Delta {
      export type ToolCall = ToolCallDelta;
      export namespace ToolCall {
        export type Function = ToolCallDelta["function"];
      }
    }
    export type Logprobs = ChatLogprobs;
  }
}
export interface CompletionChoice {
  index: number;
  text: string;
  logprobs: Logprobs | null;
  finish_reason: FinishReason | null;
}
export interface Completion {
  id: string;
  object: "text_completion";
  created: number;
  model: string;
  choices: CompletionChoice[];
  usage?: Usage;
}
