// Declares what requests may have, and checks them. A parsed request is complete and in range.
import type { GenerationDefaults } from "../contract/index.js";
import type { HostParams, Sampling } from "../decode/index.js";
import { InvalidRequestError } from "../errors.js";
import type { ImageFacts } from "../images/facts.js";
import type { Picture } from "../images/read.js";
import type { ChatTurn, RenderOptions } from "../text/template.js";
import type { Tool, ToolChoice, ToolRequest } from "../tools/index.js";
import { refusePictures } from "./content.js";
import {
  asRecord,
  checkFlag,
  type Field,
  flag,
  ignored,
  integer,
  number,
  parseFields,
  type RequestOf,
  refuseOthers,
  signal,
  type ValuesOf,
} from "./fields.js";
import { parseExtraBody, parseMessages, parseVariables } from "./messages.js";
import type { Reading } from "./reading.js";
import { type AnswerFormat, type AnswerRules, parseResponseFormat, type ResponseFormat } from "./response_format.js";
import { checkChoice, parseToolChoice, parseTools } from "./tools.js";
import type { ChatMessage, ChatTool } from "./types.js";

const MAX_INT = 2 ** 31 - 1;

/** What every request may have. */
const SAMPLING = {
  /** Accepted and ignored: an engine holds one model. */
  model: ignored<string>(),
  max_tokens: integer(1, MAX_INT, undefined),
  /** The same, by its newer name, which wins. */
  max_completion_tokens: integer(1, MAX_INT, undefined),
  /** 0 is greedy. */
  temperature: number(0, 2, undefined),
  top_p: number(0, 1, undefined),
  top_k: integer(0, MAX_INT, undefined),
  min_p: number(0, 1, 0),
  seed: integer(-(2 ** 53), 2 ** 53, undefined),
  stop: { parse: parseStop, fallback: [] } as Field<string | string[], string[]>,
  n: integer(1, 128, 1),
  /** Go on where the model would end its answer. */
  ignore_eos: flag(),
  frequency_penalty: number(-2, 2, 0),
  presence_penalty: number(-2, 2, 0),
  repetition_penalty: number(0.01, 100, undefined),
  logit_bias: { parse: parseBias, fallback: new Map() } as Field<Record<string, number>, ReadonlyMap<number, number>>,
  logprobs: flag(),
  top_logprobs: integer(0, 20, undefined),
  stream: flag(),
  stream_options: { parse: parseStreamOptions, fallback: undefined } as Field<
    { include_usage?: boolean | null },
    { includeUsage: boolean } | undefined
  >,
  response_format: { parse: parseResponseFormat, fallback: undefined } as Field<
    ResponseFormat,
    AnswerFormat | undefined
  >,
  signal,
  user: ignored<string>(),
  metadata: ignored<Record<string, unknown>>(),
  store: ignored<boolean>(),
};
const CHAT = {
  ...SAMPLING,
  messages: { parse: parseMessages } as Field<ChatMessage[], ChatTurn[]>,
  tools: { parse: parseTools, fallback: [] } as Field<ChatTool[], readonly Tool[]>,
  tool_choice: { parse: parseToolChoice, fallback: "auto" } as Field<ToolChoice, ToolChoice>,
  parallel_tool_calls: flag(true),
  /** Qwen's: how many tokens the model may reason for, before its reasoning is ended. */
  thinking_budget: integer(0, MAX_INT, undefined),
  /** Variables that the model's chat template knows, such as Qwen3's `enable_thinking`. */
  chat_template_kwargs: { parse: parseVariables, fallback: {} } as Field<Record<string, unknown>, object>,
  /** WebLLM's place for the same. */
  extra_body: { parse: parseExtraBody, fallback: {} } as Field<{ enable_thinking?: boolean | null }, object>,
};
const COMPLETION = {
  ...SAMPLING,
  prompt: { parse: parsePrompt } as Field<string, string>,
  /** The answer begins with the prompt. */
  echo: flag(),
};

export type SamplingRequest = RequestOf<typeof SAMPLING>;
export type ChatRequest = RequestOf<typeof CHAT> & { messages: ChatMessage[] };
export type CompletionRequest = RequestOf<typeof COMPLETION> & { prompt: string };

export interface ParsedRequest {
  readonly sampling: Sampling;
  readonly host: HostParams;
  /** undefined: as many as the context has room for. */
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  /** What the answer must be; undefined where it may be anything. */
  readonly format: AnswerFormat | undefined;
  readonly n: number;
  readonly ignoreEos: boolean;
  /** What each choice begins with, before what is generated. */
  readonly echo?: string | undefined;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** The answer goes on with the prompt's text: a space that it begins with is part of it. */
  readonly continues: boolean;
  readonly signal: AbortSignal | undefined;
  /** How answers are read; undefined: they are words. */
  readonly reading?: Reading | undefined;
  /** What answers are held to. */
  readonly rules?: AnswerRules | undefined;
  /** The prompt's pictures, in the order of their rows. */
  readonly pictures?: readonly Picture[] | undefined;
}
export interface ParsedChatRequest extends ParsedRequest {
  readonly messages: readonly ChatTurn[];
  readonly template: Pick<RenderOptions, "variables">;
  readonly tools: ToolRequest;
  /** Tokens that an answer may reason for. */
  readonly thinkingBudget: number | undefined;
}

/** Of a model: what its requests are checked against, and what they get that they do not ask for. */
export interface RequestFacts {
  readonly vocabSize: number;
  readonly generation?: GenerationDefaults | undefined;
  /** Of a model that takes pictures. */
  readonly images?: Pick<ImageFacts, "token" | "row"> | undefined;
}

export function parseChatRequest(request: unknown, facts: RequestFacts): ParsedChatRequest {
  const fields = parseFields(CHAT, request, facts.vocabSize);
  const { tools, tool_choice, messages } = fields;
  checkChoice(tool_choice, tools);
  if (!facts.images) refusePictures(messages);
  if (fields.ignore_eos && tools.length > 0 && tool_choice !== "none")
    throw new InvalidRequestError("ignore_eos", "cannot go with tools, whose calls end.");
  const variables = { ...fields.chat_template_kwargs, ...fields.extra_body };
  return {
    ...sampled(fields, facts),
    messages,
    template: { variables: Object.keys(variables).length > 0 ? variables : undefined },
    tools: { tools, choice: tool_choice, parallel: fields.parallel_tool_calls },
    thinkingBudget: fields.thinking_budget,
  };
}

export function parseCompletionRequest(
  request: unknown,
  facts: RequestFacts,
): ParsedRequest & { readonly prompt: string } {
  const fields = parseFields(COMPLETION, request, facts.vocabSize);
  const { prompt, echo } = fields;
  const stray = facts.images && [facts.images.token, facts.images.row].find((token) => prompt.includes(token));
  if (stray !== undefined)
    throw new InvalidRequestError(
      "prompt",
      `has ${stray}, which stands for pictures.`,
      "Ask chat.completions about pictures.",
    );
  return { ...sampled(fields, facts), prompt, continues: true, echo: echo ? prompt : undefined };
}

export function parseSampling(request: unknown, facts: RequestFacts): ParsedRequest {
  return sampled(parseFields(SAMPLING, request, facts.vocabSize), facts);
}

function sampled(fields: ValuesOf<typeof SAMPLING>, { generation = {} }: RequestFacts): ParsedRequest {
  const { logprobs, top_logprobs, stream, stream_options } = fields;
  if (top_logprobs !== undefined && !logprobs) throw new InvalidRequestError("top_logprobs", "needs logprobs: true.");
  if (fields.ignore_eos && fields.response_format)
    throw new InvalidRequestError("ignore_eos", "cannot go with response_format, whose answers end.");
  if (stream_options && !stream) throw new InvalidRequestError("stream_options", "needs stream: true.");
  return {
    sampling: {
      temperature: fields.temperature ?? generation.temperature ?? 1,
      topP: fields.top_p ?? generation.top_p ?? 1,
      topK: fields.top_k ?? generation.top_k ?? 0,
      seed: (fields.seed ?? Math.floor(Math.random() * 2 ** 31)) | 0,
    },
    host: {
      minP: fields.min_p,
      repetitionPenalty: fields.repetition_penalty ?? generation.repetition_penalty ?? 1,
      frequencyPenalty: fields.frequency_penalty,
      presencePenalty: fields.presence_penalty,
      logitBias: fields.logit_bias,
      topLogprobs: logprobs ? (top_logprobs ?? 0) : undefined,
    },
    maxTokens: fields.max_completion_tokens ?? fields.max_tokens,
    stop: fields.stop,
    format: fields.response_format,
    n: fields.n,
    ignoreEos: fields.ignore_eos,
    stream,
    includeUsage: stream_options?.includeUsage ?? false,
    continues: false,
    signal: fields.signal,
  };
}

function parsePrompt(value: unknown, name: string): string {
  if (typeof value !== "string" || value === "")
    throw new InvalidRequestError(name, "must be a string that is not empty.");
  return value;
}

function parseStreamOptions(value: unknown, name: string): { includeUsage: boolean } {
  const options = asRecord(value, name);
  refuseOthers(options, { include_usage: 0, include_obfuscation: 0 }, `${name}.`);
  if (options.include_obfuscation) throw new InvalidRequestError(`${name}.include_obfuscation`, "is not supported.");
  return { includeUsage: checkFlag(options.include_usage ?? false, `${name}.include_usage`) };
}

function parseStop(value: unknown, name: string): string[] {
  const stops: unknown[] = Array.isArray(value) ? value : [value];
  if (stops.length > 16) throw new InvalidRequestError(name, "has more than 16 strings.");
  return stops.map((stop) => {
    if (typeof stop !== "string" || stop === "")
      throw new InvalidRequestError(name, "must be a string, or a list of strings, that are not empty.");
    return stop;
  });
}

function parseBias(value: unknown, name: string, vocabSize: number): Map<number, number> {
  if (typeof value !== "object" || Array.isArray(value))
    throw new InvalidRequestError(name, "must map token ids to numbers.");
  return new Map(
    Object.entries(value as object).map(([key, bias]) => {
      const token = Number(key);
      if (!Number.isInteger(token) || token < 0 || token >= vocabSize)
        throw new InvalidRequestError(name, `has the key ${key}, which is not a token id below ${vocabSize}.`);
      if (typeof bias !== "number" || !(bias >= -100 && bias <= 100))
        throw new InvalidRequestError(name, "values must be from -100 to 100.");
      return [token, bias];
    }),
  );
}
