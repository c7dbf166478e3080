// The request and answer shapes of OpenAI's chat completions, as far as mlcweb implements them. In requests null means not given.

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

export interface SamplingRequest {
  model?: string | null;
  max_tokens?: number | null;
  max_completion_tokens?: number | null;
  /** 0 is greedy. */
  temperature?: number | null;
  top_p?: number | null;
  top_k?: number | null;
  min_p?: number | null;
  seed?: number | null;
  stop?: string | string[] | null;
  n?: number | null;
  frequency_penalty?: number | null;
  presence_penalty?: number | null;
  repetition_penalty?: number | null;
  logit_bias?: Record<string, number> | null;
  top_logprobs?: number | null;
  stream_options?: { include_usage?: boolean | null } | null;
  signal?: AbortSignal | null;
}
export interface ChatRequest extends SamplingRequest {
  messages: ChatMessage[];
  stream?: boolean | null;
  logprobs?: boolean | null;
  /** Given to the chat template; what the model answers is text, calls too. */
  tools?: ChatTool[] | null;
  tool_choice?: "auto" | "none" | null;
  /** Variables that the model's chat template knows, such as Qwen3's `enable_thinking`. */
  chat_template_kwargs?: Record<string, unknown> | null;
  /** WebLLM's place for the same. */
  extra_body?: { enable_thinking?: boolean | null } | null;
}
export interface CompletionRequest extends SamplingRequest {
  prompt: string;
  stream?: boolean | null;
  logprobs?: boolean | null;
  echo?: boolean | null;
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
