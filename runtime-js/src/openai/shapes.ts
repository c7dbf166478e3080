// Gives the engine's answers exactly OpenAI's shapes: fields that OpenAI always has, and its reasons to end.
import type {
  AnswerMessage,
  ChatCompletion,
  ChatCompletionChunk,
  Completion,
  ContentLogprob,
  FinishReason,
  Logprobs,
} from "../chat/types.js";

/** An interrupted answer is a cut one: OpenAI has no other word for it. */
type Reason = Exclude<FinishReason, "abort">;
const reasonOf = (reason: FinishReason): Reason => (reason === "abort" ? "length" : reason);

interface ChatLogprobs extends Logprobs {
  refusal: null;
}
const chatLogprobs = (given: Logprobs | null): ChatLogprobs | null => given && { ...given, refusal: null };

export interface OpenAIChatCompletion extends Omit<ChatCompletion, "choices"> {
  choices: {
    index: number;
    message: AnswerMessage & { refusal: null };
    logprobs: ChatLogprobs | null;
    finish_reason: Reason;
  }[];
}
export function chatOf(answer: ChatCompletion): OpenAIChatCompletion {
  return {
    ...answer,
    choices: answer.choices.map(({ index, message, logprobs, finish_reason: reason }) => ({
      index,
      message: { ...message, refusal: null },
      logprobs: chatLogprobs(logprobs),
      finish_reason: reasonOf(reason),
    })),
  };
}

export interface OpenAIChatChunk extends Omit<ChatCompletionChunk, "choices"> {
  choices: {
    index: number;
    delta: ChatCompletionChunk["choices"][number]["delta"];
    logprobs: ChatLogprobs | null;
    finish_reason: Reason | null;
  }[];
}
export function chatChunkOf(chunk: ChatCompletionChunk): OpenAIChatChunk {
  return {
    ...chunk,
    choices: chunk.choices.map(({ index, delta, logprobs, finish_reason: reason }) => ({
      index,
      delta,
      logprobs: chatLogprobs(logprobs),
      finish_reason: reason && reasonOf(reason),
    })),
  };
}

interface TextLogprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
}
/** In a stream's chunks the reason is null until the last, which OpenAI's types leave out. */
export interface OpenAICompletion extends Omit<Completion, "choices"> {
  choices: { index: number; text: string; logprobs: TextLogprobs | null; finish_reason: "stop" | "length" }[];
}
export function completionOf(answer: Completion): OpenAICompletion {
  return {
    ...answer,
    choices: answer.choices.map(({ index, text, logprobs, finish_reason: reason }) => ({
      index,
      text,
      logprobs: logprobs && textLogprobs(logprobs.content),
      finish_reason: (reason && reasonOf(reason)) as "stop" | "length", // a completion calls no tools
    })),
  };
}

function textLogprobs(content: readonly ContentLogprob[]): TextLogprobs {
  return {
    tokens: content.map(({ token }) => token),
    token_logprobs: content.map(({ logprob }) => logprob),
    top_logprobs: content.map((one) => Object.fromEntries(one.top_logprobs.map((top) => [top.token, top.logprob]))),
  };
}
