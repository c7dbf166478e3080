// Does the work of a request: it waits for its turn, reads texts while the GPU computes, and counts.
import { type Field, flag, ignored, signal, type ValuesOf } from "../chat/fields.js";
import type { Queue } from "../chat/queue.js";
import type { EmbeddingFacts, RerankingFacts } from "../contract/index.js";
import { CancelledError, InvalidRequestError, throwIfAborted } from "../errors.js";
import type { Typed } from "../text/post_processor.js";
import { type InputRules, Inputs } from "./inputs.js";
import type { TextModel } from "./text_model.js";
import type { TextsProgress, TextsUsage } from "./types.js";

/** What requests have to do with. */
export interface TextsBackend extends InputRules {
  readonly name: string;
  readonly queue: Queue;
  readonly model: TextModel;
  readonly embedding: EmbeddingFacts | undefined;
  readonly reranking: RerankingFacts | undefined;
}

type OnProgress = (progress: TextsProgress) => void;

/** The fields that every request may have. */
export const COMMON = {
  /** Read the beginning of a text that is too long, which is an error otherwise. */
  truncate: flag(),
  signal,
  /** Called as texts are done. */
  onProgress: { parse: parseCallback, fallback: undefined } as Field<OnProgress, OnProgress | undefined>,
  /** Accepted and ignored: an engine holds one model. */
  model: ignored<string>(),
};

function parseCallback(value: unknown, name: string): OnProgress {
  if (typeof value !== "function") throw new InvalidRequestError(name, "must be a function.");
  return value as OnProgress;
}

export function checkText(value: unknown, name: string): string {
  if (typeof value !== "string") throw new InvalidRequestError(name, "must be a string.");
  return value;
}

export const text = (): Field<string, string | undefined> => ({ parse: checkText, fallback: undefined });

/** Runs `work` in a turn of its own. It calls `check` as it goes, which throws where it must end. */
export async function inTurn<T>(
  queue: Queue,
  signal: AbortSignal | undefined,
  work: (check: () => void) => Promise<T>,
): Promise<T> {
  const turn = await queue.enter(signal);
  try {
    return await work(() => {
      throwIfAborted(signal);
      if (turn.interrupted) throw new CancelledError("Interrupted.");
    });
  } finally {
    turn.leave();
  }
}

/** The numbers of `total` texts, which `read` makes one by one. */
export async function compute(
  backend: TextsBackend,
  { truncate, signal, onProgress }: ValuesOf<typeof COMMON>,
  total: number,
  read: (inputs: Inputs) => Iterable<Typed>,
): Promise<{ rows: Float32Array[]; usage: TextsUsage }> {
  const start = performance.now();
  const inputs = new Inputs(backend, truncate);
  let told = 0;
  const rows = await inTurn(backend.queue, signal, (check) =>
    backend.model.run(read(inputs), (done) => {
      check();
      if (done > told) onProgress?.({ done, total });
      told = done;
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  const { count } = inputs;
  const extra = { e2e_latency_s: seconds, prefill_tokens_per_s: count / seconds };
  return { rows, usage: { prompt_tokens: count, total_tokens: count, extra } };
}
