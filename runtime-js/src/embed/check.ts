// Checks what a bundle says of a model that reads whole texts, beyond what the engine checks of every bundle.
import type { Manifest } from "../bundle/manifest.js";
import { DTYPE_BYTES, Place, type TextBuffer } from "../contract/generated/constants.js";
import { check } from "../contract/schema.js";
import type { Plan } from "../plan/parse.js";

/** The model does one thing, with texts that fit a call. Throws BundleError, which names the field. */
export function checkTextManifest({ model, embedding, reranking }: Manifest): void {
  check(!embedding || !reranking, "reranking", "the bundle has embedding too, and a model makes one of them");
  check(model.context_length <= model.prefill_chunk, "model.prefill_chunk", "is less than a text may have");
  if (!embedding) return;
  const { dimensions, matryoshka = [], default_prompt: name, prompts = {} } = embedding;
  for (const [i, size] of matryoshka.entries())
    check(size <= dimensions, `embedding.matryoshka[${i}]`, `${size} of ${dimensions} dimensions`);
  check(name === undefined || Object.hasOwn(prompts, name), "embedding.default_prompt", "is none of the prompts");
}

/** The buffers that the engine shares with the kernels have room for a call, which has as many texts as tokens at most.
 * Throws BundleError, which names the field. */
export function checkTextPlan({ buffers }: Pick<Plan, "buffers">, { model, embedding }: Manifest): void {
  const { prefill_chunk: chunk } = model;
  const sizes: Partial<Record<TextBuffer, number>> = {
    tokens: DTYPE_BYTES.int32 * chunk,
    places: Place.bytes * chunk,
    texts: DTYPE_BYTES.int32 * chunk,
    [embedding ? "embeddings" : "scores"]: DTYPE_BYTES.float32 * chunk * (embedding?.dimensions ?? 1),
  };
  for (const [name, size] of Object.entries(sizes)) {
    const buffer = buffers.find((one) => one.name === name);
    const bytes = buffer && buffer.kind !== "kv" && buffer.kind !== "weight" ? buffer.bytes : 0;
    check(bytes >= size, "plan.buffers", `${name} has ${bytes} of ${size} bytes`);
  }
}
