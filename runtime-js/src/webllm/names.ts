// Names the refusals of requests as WebLLM does, by the field that is wrong.
import { InvalidRequestError } from "../errors.js";
import { renamed } from "./errors.js";

type Request = Readonly<Record<string, unknown>>;

/** WebLLM's name for what is wrong with a field; where that depends, on the request. */
const NAMES: Readonly<Record<string, string | ((request: Request) => string)>> = {
  seed: "SeedTypeError",
  stream_options: "InvalidStreamOptionsError",
  "response_format.schema": "InvalidResponseFormatError",
  "response_format.grammar": "InvalidResponseFormatGrammarError",
  "response_format.structural_tag": "InvalidResponseFormatStructuralTagError",
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

/** The same error of a request, by WebLLM's name where it has one. */
export function refusal(error: unknown, request: Request): unknown {
  if (!(error instanceof InvalidRequestError)) return renamed(error);
  const name = Object.hasOwn(NAMES, error.param) ? NAMES[error.param] : ofMessage(error.param);
  if (name !== undefined) error.name = typeof name === "string" ? name : name(request);
  return error;
}

function ofMessage(param: string): string | undefined {
  if (/^messages\[\d+\]\.role$/.test(param)) return "UnsupportedRoleError";
  return /^messages\[\d+\]\.content\[\d+\]$/.test(param) ? "UserMessageContentErrorForNonVLM" : undefined;
}
