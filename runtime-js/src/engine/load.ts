// Loads a bundle onto the GPU by the stages of stages.ts, or onto the CPU. Weights are fetched while pipelines are
// compiled. Whatever fails, everything that was allocated is destroyed before the error is thrown.
import type { Manifest, Tier } from "../bundle/index.js";
import type { Model } from "../decode/index.js";
import { type AdapterFacts, describeAdapter, type Guard, type Memory } from "../device/index.js";
import type { Texts } from "../embed/texts.js";
import { CancelledError, throwIfAborted } from "../errors.js";
import { Log } from "../log.js";
import { type Host, PlanBuffers } from "../plan/index.js";
import type { TextCodec } from "../text/codec.js";
import type { Activations, ChoiceReport } from "./activations.js";
import { loadOnCpu } from "./on_cpu.js";
import type { LoadOptions } from "./options.js";
import { Progress } from "./progress.js";
import {
  chooseTarget,
  compilePrefill,
  fetchPlan,
  fetchTextsCode,
  type Known,
  type Loading,
  makeCodec,
  makeModel,
  makeTexts,
  openBundle,
  openGpu,
  rankPrefills,
  requestKernels,
  uploadWeights,
} from "./stages.js";

export interface Timings {
  readonly manifest_s: number;
  /** Seconds of timing prefills, which uploads of weights wait for; 0 where the prefill is known. */
  readonly choice_s: number;
  /** The times behind the choice of a prefill. */
  readonly choice: ChoiceReport | undefined;
  readonly weights_s: number;
  readonly kernels_s: number;
  readonly total_s: number;
  /** Seconds of the self-check after that; 0 where there was none. */
  readonly check_s: number;
}

export interface Loaded {
  readonly base: string;
  readonly manifest: Manifest;
  readonly tier: Tier;
  readonly activations: Activations;
  readonly adapter: AdapterFacts;
  /** Of the CPU's tier. */
  readonly threads: number | undefined;
  readonly guard: Pick<Guard, "check" | "onFailure" | "close" | "why">;
  readonly memory: Pick<Memory, "use" | "destroy">;
  /** Of a model that answers prompts; undefined where `texts` is there. */
  readonly model: Model | undefined;
  /** Of a model of whole texts. */
  readonly texts: Texts | undefined;
  /** Tokens that a conversation, or a text, may have. */
  readonly contextLength: number;
  readonly host: Host;
  readonly codec: TextCodec;
  readonly timings: Omit<Timings, "check_s">;
  /** Says to the page that the kernels are checked, and that nothing is left to do. */
  readonly checking: () => void;
  readonly ready: () => void;
  /** The bytes of validation.json, fetched when asked for. */
  readonly validation: () => Promise<string | undefined>;
}

/** Rejects with CancelledError when the options' signal fires, and with a typed error for everything else. What the
 * verdicts know to be wrong on this device is not loaded. */
export async function load(url: string, options: LoadOptions, known: Known = {}): Promise<Loaded> {
  const controller = new AbortController();
  const forward = (): void => controller.abort(options.signal?.reason);
  throwIfAborted(options.signal);
  options.signal?.addEventListener("abort", forward, { once: true });
  const undo: (() => void)[] = [];
  const guards: Loading["guards"] = [];
  try {
    const loaded = await runStages(url, { options, controller, undo, guards, known });
    throwIfAborted(options.signal);
    return loaded;
  } catch (error) {
    controller.abort(error);
    const why = options.signal?.aborted ? error : await (guards[0]?.why(error) ?? error);
    for (const step of undo.reverse()) step();
    if (options.signal?.aborted) throw new CancelledError("The load was cancelled.", options.signal.reason);
    throw why;
  } finally {
    options.signal?.removeEventListener("abort", forward);
  }
}

async function runStages(
  url: string,
  given: Pick<Loading, "options" | "controller" | "undo" | "guards" | "known">,
): Promise<Loaded> {
  const { options, controller } = given;
  const log = await Log.open(options.debug);
  const started = performance.now();
  const seconds = (): number => (performance.now() - started) / 1000;
  const timings = { manifest_s: 0, choice_s: 0, weights_s: 0, kernels_s: 0 };
  const progress = new Progress(options.onProgress);
  const loading: Loading = { ...given, seconds, timings, progress, log };
  const timed = <T>(stage: string, work: Promise<T>): Promise<T> => log.timed(1, stage, work);

  const bundle = await timed("read manifest", openBundle(url, loading));
  const { manifest } = bundle;
  const target = await timed("choose tier", chooseTarget(bundle, loading));
  if ("cpu" in target) return loadOnCpu(bundle, target, loading);
  const planned = await timed("fetch plan", fetchPlan(bundle, target, loading));
  const gpu = await timed("open device", openGpu(manifest, target, planned, loading));
  const code = fetchTextsCode(bundle, loading);
  code.catch(() => {}); // it is waited for below
  const kernels = await requestKernels(bundle, target, gpu, loading);
  const buffers = await timed("allocate", PlanBuffers.allocate(gpu.plan, gpu.memory, target.firstPages));
  const ranking = rankPrefills(kernels, gpu, loading);
  const [, prefill, codec, forTexts] = await settle(controller, [
    timed("upload weights", uploadWeights(bundle, gpu, buffers.all, ranking, loading)),
    timed("compile pipelines", compilePrefill(kernels, ranking, gpu, loading)),
    timed("read tokenizer", makeCodec(bundle, code)),
    code,
  ] as const);
  const { entry } = prefill;
  const [model, texts] = await timed(
    "make bind groups",
    Promise.all([
      forTexts ? undefined : makeModel(manifest, target, gpu, buffers, entry, loading),
      forTexts && makeTexts(forTexts, manifest, target, gpu, buffers, entry, codec),
    ]),
  );
  gpu.guard.check();
  log.say(1, ({ took }) => took(`load ${manifest.name}`, 1000 * seconds()));
  return {
    base: bundle.source.base,
    manifest,
    tier: target.tier,
    activations: prefill.activations,
    adapter: describeAdapter(target.adapter),
    threads: undefined,
    guard: gpu.guard,
    memory: gpu.memory,
    model,
    texts,
    contextLength: target.contextLength,
    host: gpu.host,
    codec,
    checking: () => progress.check(),
    ready: () => progress.ready(),
    timings: { ...timings, choice: kernels.choice.report, total_s: seconds() },
    validation: async () => (manifest.validation === undefined ? undefined : bundle.readText(manifest.validation)),
  };
}

/** Returns all values. The first failure cancels the rest, and is thrown when all of them have ended. */
async function settle<T extends readonly unknown[]>(
  controller: AbortController,
  work: { [K in keyof T]: Promise<T[K]> },
): Promise<T> {
  let failure: { error: unknown } | undefined;
  const fail = (error: unknown): void => {
    // A failure cancels the others, whose CancelledError must not hide it.
    if (!failure || failure.error instanceof CancelledError) failure = { error };
    controller.abort(error);
  };
  const results = await Promise.all(work.map((promise) => (promise as Promise<unknown>).catch(fail)));
  if (failure) throw failure.error;
  return results as unknown as T;
}
