// Makes the model of a loaded bundle.
import type { Manifest } from "../bundle/manifest.js";
import type { Plan } from "../plan/parse.js";
import type { TextCodec } from "../text/codec.js";
import { readPostProcessor } from "../text/post_processor.js";
import { checkTextPlan } from "./check.js";
import { TextModel, type TextModelParts } from "./text_model.js";
import { Texts } from "./texts.js";

/** `contextLength`: tokens of a text, at most. Throws BundleError for a plan or a tokenizer that cannot be used. */
export function openTexts(
  manifest: Manifest,
  plan: Plan,
  codec: TextCodec,
  contextLength: number,
  parts: Omit<TextModelParts, "output">,
): Texts {
  const { name, model, embedding, reranking } = manifest;
  checkTextPlan(plan, manifest);
  const output = embedding ? { name: "embeddings", width: embedding.dimensions } : { name: "scores", width: 1 };
  return new Texts({
    name,
    codec,
    model: new TextModel({ ...parts, output }),
    around: readPostProcessor(codec.postProcessor as Record<string, unknown> | null),
    vocabSize: model.vocab_size,
    limit: contextLength,
    embedding,
    reranking,
  });
}
