// Answers requests for embeddings, in OpenAI's shape.
import { type Field, ignored, integer, parseFields, type RequestOf } from "../chat/fields.js";
import type { EmbeddingFacts } from "../contract/index.js";
import { InvalidRequestError } from "../errors.js";
import type { EmbeddingAnswer } from "./types.js";
import { base64, shorten } from "./vectors.js";
import { COMMON, compute, type TextsBackend, text } from "./work.js";

/** A text, texts, a text's tokens, or those of several texts. */
export type EmbeddingInput = string | readonly string[] | readonly number[] | readonly (readonly number[])[];
type Format = "float" | "base64";
/** Each a text or its tokens; `alone`: one that is in no list. */
interface Parsed {
  readonly texts: readonly (string | readonly unknown[])[];
  readonly alone: boolean;
}

const EMBEDDING = {
  ...COMMON,
  input: { parse: parseInput } as Field<EmbeddingInput, Parsed>,
  encoding_format: { parse: parseFormat, fallback: "float" } as Field<Format, Format>,
  /** How many numbers a vector has: one of the sizes that the model was trained to be cut to. */
  dimensions: integer(1, 2 ** 31 - 1, undefined),
  /** The name of the model's prompt that goes before each text. */
  prompt_name: text(),
  /** What goes before each text, in place of a prompt of the model's. */
  prompt: text(),
  user: ignored<string>(),
};
export type EmbeddingRequest = RequestOf<typeof EMBEDDING> & { input: EmbeddingInput };

export async function embed(backend: TextsBackend, request: unknown): Promise<EmbeddingAnswer> {
  const facts = backend.embedding!;
  const fields = parseFields(EMBEDDING, request, backend.vocabSize);
  const { input, encoding_format: format } = fields;
  const size = sizeOf(facts, fields.dimensions);
  const asked = fields.prompt ?? fields.prompt_name;
  if (fields.prompt !== undefined && fields.prompt_name !== undefined)
    throw new InvalidRequestError("prompt", "cannot go with prompt_name.");
  if (asked !== undefined && typeof input.texts[0] !== "string")
    throw new InvalidRequestError("prompt", "goes before a text, and the input is tokens.");
  const prompt = fields.prompt ?? promptOf(facts, fields.prompt_name);
  const { rows, usage } = await compute(backend, fields, input.texts.length, function* (inputs) {
    for (const [i, one] of input.texts.entries()) {
      const at = input.alone ? "input" : `input[${i}]`;
      yield typeof one === "string" ? inputs.text([prompt + one], at) : inputs.tokens(one, at);
    }
  });
  const data = rows.map((row, index) => {
    const vector = shorten(row, size, facts.normalized);
    return { object: "embedding" as const, index, embedding: format === "base64" ? base64(vector) : [...vector] };
  });
  return { object: "list", data, model: backend.name, usage };
}

function sizeOf({ dimensions, matryoshka = [] }: EmbeddingFacts, asked = dimensions): number {
  const sizes = [...matryoshka, dimensions];
  if (sizes.includes(asked)) return asked;
  const known = [...new Set(sizes)].sort((a, b) => a - b).join(", ");
  throw new InvalidRequestError("dimensions", `cannot be ${asked}: this model's vectors have ${known}.`);
}

/** What goes before a text: the prompt of that name, or the one that the model always has. */
export function promptOf({ prompts = {}, default_prompt }: EmbeddingFacts, name = default_prompt): string {
  if (name === undefined) return "";
  if (Object.hasOwn(prompts, name)) return prompts[name]!;
  const known = Object.keys(prompts).join(", ");
  throw new InvalidRequestError(
    "prompt_name",
    `this model has no prompt ${JSON.stringify(name)}: ${known ? `it has ${known}` : "it has none"}.`,
    "Give the text itself as prompt.",
  );
}

function parseFormat(value: unknown, name: string): Format {
  if (value !== "float" && value !== "base64") throw new InvalidRequestError(name, 'must be "float" or "base64".');
  return value;
}

function parseInput(value: unknown, name: string): Parsed {
  if (typeof value === "string") return { texts: [value], alone: true };
  if (!Array.isArray(value))
    throw new InvalidRequestError(name, "must be a text, a list of texts, a text's tokens, or a list of those.");
  if (value.length === 0) throw new InvalidRequestError(name, "has no texts.");
  if (typeof value[0] === "number") return { texts: [value], alone: true };
  const kind = typeof value[0] === "string" ? "a string" : "a list of token ids";
  value.forEach((one: unknown, i) => {
    if (kind === "a string" ? typeof one !== "string" : !Array.isArray(one))
      throw new InvalidRequestError(`${name}[${i}]`, `must be ${kind}.`);
  });
  return { texts: value as Parsed["texts"], alone: false };
}
