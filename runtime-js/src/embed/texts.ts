// Holds a model that reads whole texts, and answers requests to it.
import type { Queue } from "../chat/queue.js";
import type { EngineInfo } from "../engine/engine.js";
import type { ValidationReport } from "../engine/validate.js";
import { embed } from "./embeddings.js";
import { rerank } from "./rerank.js";
import type { EmbeddingAnswer, RerankAnswer } from "./types.js";
import { validateTexts } from "./validate.js";
import type { TextsBackend } from "./work.js";

export class Texts {
  constructor(private readonly backend: Omit<TextsBackend, "queue">) {}

  /** Each waits in the queue for its turn. */
  embed(queue: Queue, request: unknown): Promise<EmbeddingAnswer> {
    return embed({ ...this.backend, queue }, request);
  }
  rerank(queue: Queue, request: unknown): Promise<RerankAnswer> {
    return rerank({ ...this.backend, queue }, request);
  }
  validate(
    queue: Queue,
    validation: unknown,
    info: Pick<EngineInfo, "tier" | "activations">,
  ): Promise<ValidationReport> {
    return validateTexts({ ...this.backend, queue }, validation, info);
  }
}
