// Answers requests to rank documents by a query, in the shape that Cohere's and Jina's clients know.
import { type Field, flag, integer, parseFields, type RequestOf } from "../chat/fields.js";
import type { RerankingFacts } from "../contract/index.js";
import { InvalidRequestError } from "../errors.js";
import type { Typed } from "../text/post_processor.js";
import type { Inputs } from "./inputs.js";
import type { RerankAnswer } from "./types.js";
import { COMMON, checkText, compute, type TextsBackend, text } from "./work.js";

export type RerankDocument = string | { readonly text: string };

const RERANK = {
  ...COMMON,
  query: { parse: checkText } as Field<string, string>,
  documents: { parse: parseDocuments } as Field<readonly RerankDocument[], readonly string[]>,
  /** How many results to give; by default all. */
  top_n: integer(1, 2 ** 31 - 1, undefined),
  /** Give each result's text too. */
  return_documents: flag(),
  /** What the model is to rank by, where its template has a place for it. */
  instruction: text(),
};
export type RerankRequest = RequestOf<typeof RERANK> & { query: string; documents: readonly RerankDocument[] };

export async function rerank(backend: TextsBackend, request: unknown): Promise<RerankAnswer> {
  const facts = backend.reranking!;
  const fields = parseFields(RERANK, request, backend.vocabSize);
  const { query, documents, top_n, return_documents } = fields;
  const { template, activation } = facts;
  if (fields.instruction !== undefined && !template?.includes("{instruction}"))
    throw new InvalidRequestError("instruction", "this model has no place for one.");
  const instruction = fields.instruction ?? facts.instruction ?? "";
  const { rows, usage } = await compute(backend, fields, documents.length, function* (inputs) {
    for (const [i, document] of documents.entries())
      yield readPair(inputs, facts, { query, document, instruction }, `documents[${i}]`);
  });
  const score = ([logit]: Float32Array): number => (activation === "sigmoid" ? 1 / (1 + Math.exp(-logit!)) : logit!);
  const results = rows
    .map((row, index) => ({
      index,
      relevance_score: score(row),
      ...(return_documents && { document: { text: documents[index]! } }),
    }))
    .sort((a, b) => b.relevance_score - a.relevance_score)
    .slice(0, top_n);
  return {
    object: "list",
    id: `rerank-${crypto.randomUUID()}`,
    model: backend.name,
    results,
    usage,
    meta: { tokens: { input_tokens: usage.total_tokens, output_tokens: 0 } },
  };
}

/** A query and a document as the model reads them: in its template's places, or joined by the tokenizer. */
export function readPair(
  inputs: Inputs,
  { template }: RerankingFacts,
  parts: { readonly query: string; readonly document: string; readonly instruction: string },
  at: string,
): Typed {
  if (template === undefined) return inputs.text([parts.query, parts.document], at);
  // all at once: a query may have the words of a place
  const filled = (document: string): string =>
    template.replace(
      /\{(instruction|query|document)\}/g,
      (_, name: keyof typeof parts) => ({ ...parts, document })[name],
    );
  return inputs.filled(parts.document, filled, at);
}

function parseDocuments(value: unknown, name: string): string[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new InvalidRequestError(name, "must be a list of texts that is not empty.");
  return value.map((one: unknown, i) => {
    const words = typeof one === "object" && one !== null ? (one as { text?: unknown }).text : one;
    if (typeof words !== "string")
      throw new InvalidRequestError(`${name}[${i}]`, "must be a string, or an object with a text.");
    return words;
  });
}
