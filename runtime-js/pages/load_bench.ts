// Measures how long a visitor waits for the first token of a short prompt: with the model from the server, and the
// second time from what the browser keeps. Also brings the weights alone, as a load does, but to no GPU.
import {
  type ChoiceReport,
  deleteFromCache,
  type Engine,
  type EngineInfo,
  type LoadOptions,
  type Warning,
} from "mlcweb";
import { Source } from "../src/bundle/index.js";
import { bringWeights, startCarriers } from "../src/engine/bring_weights.js";

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

/** `load` loads the bundle anew with what is kept. Forgets what is kept of the bundle first. */
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

export interface Brought {
  readonly bytes: number;
  readonly seconds: number;
  /** How many workers brought them; 0 where the page did. */
  readonly carriers: number;
  readonly warnings: Warning[];
  /** The sum of all bytes, modulo 2^32. */
  readonly sum: number | undefined;
  /** With `memory`: the most bytes that JavaScript had meanwhile, here and in workers. */
  readonly memory: number | undefined;
}

/** Brings all weights of a bundle, by so many carriers at most. `sum` adds their bytes up, `memory` measures the page's
 * over and over, for which it must be cross-origin isolated; both take time. */
export async function bring(
  url: string,
  {
    sum,
    memory,
    most,
    ...options
  }: Pick<LoadOptions, "cache" | "verify"> & { sum?: boolean; memory?: boolean; most?: number } = {},
): Promise<Brought> {
  const warnings: Warning[] = [];
  const controller = new AbortController();
  const onWarning = (warning: Warning): unknown => warnings.push(warning);
  const source = await Source.open(url, { ...options, onWarning, signal: controller.signal });
  const manifest = await source.manifest();
  const started = performance.now();
  const carriers = startCarriers(source, manifest, most);
  let bytes = 0;
  let added = 0;
  const sink = {
    ready: async () => {},
    write(_: string, __: number, part: Uint8Array<ArrayBuffer>) {
      bytes += part.length;
      if (sum) for (const byte of part) added = (added + byte) >>> 0;
    },
    flushed: async () => {},
  };
  const brought = bringWeights({ source, manifest, carriers }, [...manifest.tensors.keys()], sink, controller);
  const used = memory ? await mostMemory(brought) : undefined;
  await brought;
  const seconds = (performance.now() - started) / 1000;
  return { bytes, seconds, carriers: (await carriers).length, warnings, sum: sum ? added : undefined, memory: used };
}

async function mostMemory(work: Promise<unknown>): Promise<number> {
  const { performance: measuring } = globalThis as unknown as {
    performance: { measureUserAgentSpecificMemory(): Promise<{ bytes: number }> };
  };
  let going = true;
  const end = (): void => {
    going = false;
  };
  work.then(end, end);
  let most = 0;
  while (going) most = Math.max(most, (await measuring.measureUserAgentSpecificMemory()).bytes);
  return most;
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
