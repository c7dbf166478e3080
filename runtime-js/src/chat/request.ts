// Checks a request field by field: what it returns is complete and in range, or InvalidRequestError names the field.

import type { HostParams, Sampling } from "../decode/index.js";
import { InvalidRequestError } from "../errors.js";
import type { ChatTurn, RenderOptions } from "../text/template.js";
import { parseMessages, parseTools, parseVariables } from "./messages.js";

export interface ParsedRequest {
  readonly sampling: Sampling;
  readonly host: HostParams;
  /** undefined: as many as the context has room for. */
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  readonly n: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** The answer goes on with the prompt's text: a space that it begins with is part of it. */
  readonly continues: boolean;
  readonly signal: AbortSignal | undefined;
}

type Fields = Record<string, unknown>;

const SAMPLING = [
  "model",
  "max_tokens",
  "max_completion_tokens",
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "seed",
  "stop",
  "n",
  "frequency_penalty",
  "presence_penalty",
  "repetition_penalty",
  "logit_bias",
  "logprobs",
  "top_logprobs",
  "stream",
  "stream_options",
  "signal",
  "user",
  "metadata",
  "store",
];
export interface ParsedChatRequest extends ParsedRequest {
  readonly messages: readonly ChatTurn[];
  readonly template: Pick<RenderOptions, "tools" | "variables">;
}

export function parseChatRequest(request: unknown, vocabSize: number): ParsedChatRequest {
  const fields = record(request);
  refuseUnknown(fields, [
    "messages",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "chat_template_kwargs",
    "extra_body",
  ]);
  const format = fields.response_format as { type?: unknown } | null | undefined;
  if (format != null && (format.type ?? "text") !== "text")
    throw new InvalidRequestError("response_format", "only text is supported.");
  const template = { tools: parseTools(fields), variables: parseVariables(fields) };
  return { ...parseSampling(fields, vocabSize), messages: parseMessages(fields.messages), template };
}

export function parseCompletionRequest(
  request: unknown,
  vocabSize: number,
): ParsedRequest & { readonly prompt: string } {
  const fields = record(request);
  refuseUnknown(fields, ["prompt", "echo"]);
  if (typeof fields.prompt !== "string" || fields.prompt === "")
    throw new InvalidRequestError("prompt", "must be a string that is not empty.");
  if (fields.echo) throw new InvalidRequestError("echo", "is not supported.");
  return { ...parseSampling(fields, vocabSize), prompt: fields.prompt, continues: true };
}

export function parseSampling(fields: Fields, vocabSize: number): ParsedRequest {
  const number = (key: string, fallback: number, min: number, max: number): number => {
    const value = fields[key] ?? fallback;
    if (typeof value !== "number" || !(value >= min && value <= max))
      throw new InvalidRequestError(key, `must be a number from ${min} to ${max}.`);
    return value;
  };
  const integer = (key: string, fallback: number, min: number, max: number): number => {
    const value = number(key, fallback, min, max);
    if (!Number.isInteger(value)) throw new InvalidRequestError(key, "must be an integer.");
    return value;
  };
  const flag = (key: string): boolean => {
    const value = fields[key] ?? false;
    if (typeof value !== "boolean") throw new InvalidRequestError(key, "must be true or false.");
    return value;
  };
  const logprobs = flag("logprobs");
  if (fields.top_logprobs != null && !logprobs) throw new InvalidRequestError("top_logprobs", "needs logprobs: true.");
  const stream = flag("stream");
  const includeUsage = parseStreamOptions(fields.stream_options, stream);
  const most = fields.max_completion_tokens != null ? "max_completion_tokens" : "max_tokens";
  const { signal } = fields;
  if (signal != null && !(signal instanceof AbortSignal))
    throw new InvalidRequestError("signal", "must be an AbortSignal.");
  return {
    sampling: {
      temperature: number("temperature", 1, 0, 2),
      topP: number("top_p", 1, 0, 1),
      topK: integer("top_k", 0, 0, 2 ** 31 - 1),
      seed: fields.seed == null ? Math.floor(Math.random() * 2 ** 31) : integer("seed", 0, -(2 ** 53), 2 ** 53) | 0,
    },
    host: {
      minP: number("min_p", 0, 0, 1),
      repetitionPenalty: number("repetition_penalty", 1, 0.01, 100),
      frequencyPenalty: number("frequency_penalty", 0, -2, 2),
      presencePenalty: number("presence_penalty", 0, -2, 2),
      logitBias: parseBias(fields.logit_bias, vocabSize),
      topLogprobs: logprobs ? integer("top_logprobs", 0, 0, 20) : undefined,
    },
    maxTokens: fields[most] == null ? undefined : integer(most, 0, 1, 2 ** 31 - 1),
    stop: parseStop(fields.stop),
    n: integer("n", 1, 1, 128),
    stream,
    includeUsage,
    continues: false,
    signal: signal ?? undefined,
  };
}

function record(request: unknown, param = "request"): Fields {
  if (typeof request !== "object" || request === null) throw new InvalidRequestError(param, "must be an object.");
  return request as Fields;
}

/** null is as good as not given, as OpenAI's clients have it, also for what is not known here. */
function refuseUnknown(fields: Fields, more: readonly string[]): void {
  for (const key of Object.keys(fields)) {
    if (!SAMPLING.includes(key) && !more.includes(key) && fields[key] != null)
      throw new InvalidRequestError(key, "is not a known parameter.");
  }
}

function parseStreamOptions(value: unknown, stream: boolean): boolean {
  if (value == null) return false;
  if (!stream) throw new InvalidRequestError("stream_options", "needs stream: true.");
  const { include_usage: usage, include_obfuscation: obfuscation, ...others } = record(value, "stream_options");
  if (usage != null && typeof usage !== "boolean")
    throw new InvalidRequestError("stream_options.include_usage", "must be true or false.");
  if (obfuscation) throw new InvalidRequestError("stream_options.include_obfuscation", "is not supported.");
  for (const key of Object.keys(others))
    if (others[key] != null) throw new InvalidRequestError(`stream_options.${key}`, "is not a known parameter.");
  return usage === true;
}

function parseStop(value: unknown): string[] {
  if (value == null) return [];
  const stops: unknown[] = Array.isArray(value) ? value : [value];
  if (stops.length > 16) throw new InvalidRequestError("stop", "has more than 16 strings.");
  return stops.map((stop) => {
    if (typeof stop !== "string" || stop === "")
      throw new InvalidRequestError("stop", "must be a string, or a list of strings, that are not empty.");
    return stop;
  });
}

function parseBias(value: unknown, vocabSize: number): Map<number, number> {
  if (value == null) return new Map();
  if (typeof value !== "object" || Array.isArray(value))
    throw new InvalidRequestError("logit_bias", "must map token ids to numbers.");
  return new Map(
    Object.entries(value).map(([key, bias]) => {
      const token = Number(key);
      if (!Number.isInteger(token) || token < 0 || token >= vocabSize)
        throw new InvalidRequestError("logit_bias", `has the key ${key}, which is not a token id below ${vocabSize}.`);
      if (typeof bias !== "number" || !(bias >= -100 && bias <= 100))
        throw new InvalidRequestError("logit_bias", "values must be from -100 to 100.");
      return [token, bias];
    }),
  );
}
