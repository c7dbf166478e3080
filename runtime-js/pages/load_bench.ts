// Measures how long a visitor waits for the first token of a short prompt: with the model from the server, and the
// second time from the browser's cache.
import { type ChoiceReport, deleteFromCache, type Engine, type EngineInfo } from "mlcweb";

/** Seconds: weights, kernels and their choice as in the engine's timings; `first_token_s` counts the load. */
export interface Visit {
  readonly load_s: number;
  readonly weights_s: number;
  readonly kernels_s: number;
  readonly choice_s: number;
  /** What prefill computes with, and what was timed for that. */
  readonly activations: EngineInfo["activations"];
  readonly choice: ChoiceReport | undefined;
  readonly first_token_s: number;
}

export interface LoadBench {
  /** Of the weights. */
  readonly bytes: number;
  /** Fetching the weights, three files at a time as the engine does, and doing nothing with them. */
  readonly fetch_s: number;
  readonly first: Visit;
  readonly again: Visit;
}

const PROMPT = Array.from({ length: 16 }, (_, i) => i + 1);

/** `load` loads the bundle anew with what the Cache API keeps. Forgets what is kept of the bundle first. */
export async function benchLoad(url: string, load: () => Promise<Engine>): Promise<LoadBench> {
  await deleteFromCache(url);
  const first = await visit(load); // which says what is wrong with a bundle
  const base = new URL(url, location.href);
  const file = (name: string): URL => new URL(name + base.search, base);
  const { weights } = (await (await fetch(file("mlcweb.json"))).json()) as {
    weights: { chunks: string[]; bytes: number };
  };
  const fetch_s = await fetchAll(weights.chunks.map(file));
  return { bytes: weights.bytes, fetch_s, first, again: await visit(load) };
}

async function visit(load: () => Promise<Engine>): Promise<Visit> {
  const started = performance.now();
  const engine = await load();
  await engine.greedy(PROMPT, 1);
  const first_token_s = (performance.now() - started) / 1000;
  const {
    activations,
    timings: { total_s: load_s, weights_s, kernels_s, choice_s, choice },
  } = engine.info;
  return { load_s, weights_s, kernels_s, choice_s, activations, choice, first_token_s };
}

async function fetchAll(urls: URL[]): Promise<number> {
  const started = performance.now();
  const waiting = [...urls];
  await Promise.all(
    [1, 2, 3].map(async () => {
      for (let url = waiting.shift(); url; url = waiting.shift()) {
        const reader = (await fetch(url, { cache: "no-store" })).body!.getReader();
        while (!(await reader.read()).done);
      }
    }),
  );
  return (performance.now() - started) / 1000;
}
