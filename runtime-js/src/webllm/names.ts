// Names the refusals of requests as WebLLM does, by the field that is wrong.
import { InvalidRequestError } from "../errors.js";
import { renamed } from "./errors.js";

type Request = Readonly<Record<string, unknown>>;

/** WebLLM's name for what is wrong with a field; where that depends, on the request. */
const NAMES: Readonly<Record<string, string | ((request: Request) => string)>> = {
  seed: "SeedTypeError",
  stream_options: "InvalidStreamOptionsError",
  max_tokens: "MinValueError",
  repetition_penalty: "MinValueError",
  top_p: "RangeError",
  frequency_penalty: "RangeError",
  presence_penalty: "RangeError",
  temperature: ({ temperature }) => ((temperature as number) > 2 ? "RangeError" : "NonNegativeError"),
  top_logprobs: ({ logprobs }) => (logprobs === true ? "RangeError" : "DependencyError"),
  logit_bias: ({ logit_bias: bias }) =>
    Object.keys(bias as object).every((token) => /^\d+$/.test(token)) ? "RangeError" : "InvalidNumberStringError",
  suffix: "UnsupportedFieldsError",
  best_of: "UnsupportedFieldsError",
};

/** By the field beside `type`: the type that it belongs to, and what it is called where it is missing or not. */
const FORMATS: Readonly<Record<string, readonly [type: string, name: string]>> = {
  schema: ["json_object", "InvalidResponseFormatError"],
  grammar: ["grammar", "InvalidResponseFormatGrammarError"],
  structural_tag: ["structural_tag", "InvalidResponseFormatStructuralTagError"],
};

/** The same error of a request, by WebLLM's name where it has one. */
export function refusal(error: unknown, request: Request): unknown {
  if (!(error instanceof InvalidRequestError)) return renamed(error);
  const { param } = error;
  const name = Object.hasOwn(NAMES, param) ? NAMES[param] : ofPath(param, request);
  if (name !== undefined) error.name = typeof name === "string" ? name : name(request);
  return error;
}

function ofPath(param: string, { response_format: format }: Request): string | undefined {
  if (/^messages\[\d+\]\.role$/.test(param)) return "UnsupportedRoleError";
  if (/^messages\[\d+\]\.content\[\d+\]$/.test(param)) return "UserMessageContentErrorForNonVLM";
  const [, field] = /^response_format\.(schema|grammar|structural_tag)\b/.exec(param) ?? [];
  if (field === undefined) return undefined;
  const [type, name] = FORMATS[field]!;
  const given = format as Request;
  return given.type === type && given[field] != null ? "GrammarMatcherInitError" : name;
}
