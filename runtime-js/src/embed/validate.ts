// Compares what the model makes of the texts of validation.json with the host reference's.
import schema from "../contract/generated/text_validation.schema.json";
import type { CheckedText, TextValidationDocument } from "../contract/index.js";
import { check, checked, type Schema } from "../contract/schema.js";
import type { EngineInfo } from "../engine/engine.js";
import type { ValidationReport } from "../engine/validate.js";
import { BundleError } from "../errors.js";
import type { Typed } from "../text/post_processor.js";
import { promptOf } from "./embeddings.js";
import { Inputs } from "./inputs.js";
import { readPair } from "./rerank.js";
import { inTurn, type TextsBackend } from "./work.js";

export interface TextReport {
  /** Whether the engine reads the compiler's tokens out of it. */
  readonly tokens_equal: boolean;
  /** Of an embedding the length of the difference over its own; of a score the difference over the range of all. */
  readonly relative_difference: number;
  readonly ok: boolean;
}

/** `json` is validation.json. Throws BundleError, which names the field, for what is not valid. */
export async function validateTexts(
  backend: TextsBackend,
  json: unknown,
  { tier, activations }: Pick<EngineInfo, "tier" | "activations">,
): Promise<ValidationReport> {
  const started = performance.now();
  const { texts, tolerance } = parseTextValidation(json, backend);
  const inputs = new Inputs(backend, false);
  const read = texts.map((text, i) => readChecked(inputs, backend, text, `texts[${i}]`));
  // The compiler's tokens are run, so that a tokenizer's fault and a kernel's are told apart.
  const typed = texts.map(({ tokens }, i) => ({ tokens: [...tokens], types: typesFor(read[i]!, tokens) }));
  const rows = await inTurn(backend.queue, undefined, (check) => backend.model.run(typed, check));
  const activation = activations === "int8" ? activations : tier.startsWith("f16") ? "float16" : "float32";
  const most = tolerance[activation];
  check(most !== undefined, `tolerance.${activation}`, "is missing");
  const scores = texts.map(({ output }) => output[0]!);
  const range = backend.reranking ? Math.max(...scores) - Math.min(...scores) || 1 : undefined;
  const reports = texts.map(({ tokens, output }, i): TextReport => {
    const difference = distance(rows[i]!, output) / (range ?? (distance(new Float32Array(output.length), output) || 1));
    const equal = tokens.join() === read[i]!.tokens.join();
    return { tokens_equal: equal, relative_difference: difference, ok: equal && difference <= most };
  });
  return {
    ok: reports.every((text) => text.ok),
    tier,
    activations,
    activation,
    tolerance: most,
    max_relative_difference: Math.max(...reports.map((text) => text.relative_difference)),
    texts: reports,
    steps: [],
    greedy: [],
    expected: [],
    greedy_equal: true,
    greedy_mismatch_at: -1,
    chats: [],
    picture: null,
    answer: "",
    expected_answer: null,
    seconds: (performance.now() - started) / 1000,
  };
}

function readChecked(inputs: Inputs, { embedding, reranking }: TextsBackend, text: CheckedText, at: string): Typed {
  if (embedding) return inputs.text([promptOf(embedding) + text.text], at);
  const parts = { query: text.text, document: text.document!, instruction: reranking!.instruction ?? "" };
  return readPair(inputs, reranking!, parts, at);
}

const typesFor = ({ tokens, types }: Typed, expected: readonly number[]): number[] =>
  tokens.length === expected.length ? types : expected.map(() => 0);

function distance(a: Float32Array, b: readonly number[]): number {
  return Math.sqrt(b.reduce((sum, x, i) => sum + (a[i]! - x) ** 2, 0));
}

/** A validation whose tokens are the vocabulary's, with as many numbers as the model gives. Throws BundleError, which
 * names the field. */
export function parseTextValidation(
  json: unknown,
  { vocabSize, limit, embedding, reranking }: Pick<TextsBackend, "vocabSize" | "limit" | "embedding" | "reranking">,
): TextValidationDocument {
  if (json === undefined)
    throw new BundleError("The bundle has no validation file.", "Compile it again, with validation on.");
  const validation = checked<TextValidationDocument>(json, schema as Schema, "validation");
  const width = embedding?.dimensions ?? 1;
  for (const [i, { tokens, output, document }] of validation.texts.entries()) {
    const at = `texts[${i}]`;
    tokens.forEach((id, place) => {
      check(id < vocabSize, `${at}.tokens[${place}]`, `${id} is outside the vocabulary`);
    });
    check(tokens.length <= limit, `${at}.tokens`, `${tokens.length}, more than a text may have`);
    check(output.length === width, `${at}.output`, `${output.length} of ${width} numbers`);
    check((document !== undefined) === (reranking !== undefined), `${at}.document`, "is for a model that ranks");
  }
  return validation;
}
