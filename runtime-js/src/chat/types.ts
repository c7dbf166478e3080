// Declares the messages and answers of OpenAI's chat completions, as far as mlcweb implements them. request.ts declares
// the other fields of a request. In requests null means not given.

export interface TextPart {
  type: "text";
  text: string;
}
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
  content?: string | TextPart[] | null;
  name?: string | null;
  tool_calls?: ChatToolCall[] | null;
  tool_call_id?: string | null;
  reasoning_content?: string | null;
}

export type FinishReason = "stop" | "length" | "abort";
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
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  extra: {
    prefill_tokens_per_s: number;
    decode_tokens_per_s: number;
    time_to_first_token_s: number;
    cached_prompt_tokens: number;
  };
}
export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: {
    index: number;
    message: { role: "assistant"; content: string };
    logprobs: Logprobs | null;
    finish_reason: FinishReason;
  }[];
  usage: Usage;
}
export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  choices: {
    index: number;
    delta: { role?: "assistant"; content?: string };
    logprobs: Logprobs | null;
    finish_reason: FinishReason | null;
  }[];
  usage?: Usage;
}
export interface Completion {
  id: string;
  object: "text_completion";
  created: number;
  model: string;
  choices: { index: number; text: string; logprobs: Logprobs | null; finish_reason: FinishReason | null }[];
  usage?: Usage;
}
