// Loads a bundle's CPU tier, in the place of the stages for a GPU. Its code is fetched when a page has no WebGPU.
import type { Tier } from "../bundle/index.js";
import type { CpuCode } from "../cpu/code.js";
import type { AdapterFacts } from "../device/index.js";
import { throwIfAborted } from "../errors.js";
import { Host, parsePlan } from "../plan/index.js";
import { bringWeights } from "./bring_weights.js";
import { fetchCode } from "./late_code.js";
import type { Loaded } from "./load.js";
import { type Bundle, fetchTextsCode, type Loading, makeCodec, SOFTWARE_CHUNK } from "./stages.js";
import { activationsOf } from "./suits.js";

export const CPU_FACTS: AdapterFacts = {
  vendor: "",
  architecture: "wasm",
  device: "",
  description: "CPU, without WebGPU",
  fallback: false,
  software: true,
};

/** A tier that is taken without an adapter. */
export interface CpuTarget {
  readonly cpu: CpuCode;
  readonly tier: Tier;
  /** Which of its modules this browser can run. */
  readonly kernels: string;
  readonly contextLength: number;
  /** KV pages of a full context. */
  readonly pages: number;
}

/** Throws MissingFeatureError where WebAssembly has no SIMD. */
export async function targetCpu(tier: Tier, sizes: Pick<CpuTarget, "contextLength" | "pages">): Promise<CpuTarget> {
  const module = await fetchCode(import("../cpu/index.js"), "What runs models without WebGPU", "cpu");
  const cpu = module.code as CpuCode;
  return { cpu, tier, kernels: cpu.kernelsFor(tier), ...sizes };
}

export async function loadOnCpu(bundle: Bundle, target: CpuTarget, loading: Loading): Promise<Loaded> {
  const { source, manifest, readText } = bundle;
  const { tier, contextLength, pages } = target;
  const { options, controller, undo, progress, timings, seconds, log } = loading;
  const { vocab_size: vocabSize, prefill_chunk: chunk } = manifest.model;
  const [text, kernels, wasm] = await Promise.all([
    readText(tier.plan),
    source.file(manifest, target.kernels),
    source.file(manifest, manifest.wasm),
  ]);
  const plan = parsePlan(text, manifest, tier.name);
  timings.manifest_s = seconds();
  const sizes = { vocabSize, prefillChunk: Math.min(SOFTWARE_CHUNK, chunk), contextLength };
  const parts = { plan, kernels, host: wasm, pages, threads: options.threads, sizes };
  const forTexts = fetchTextsCode(bundle, loading);
  forTexts.catch(() => {}); // it is waited for below
  const cpu = await log.timed(1, "start threads", target.cpu.openCpu(parts));
  undo.push(() => cpu.link.close());
  throwIfAborted(controller.signal);
  timings.kernels_s = seconds() - timings.manifest_s;
  progress.kernel(1, 1);
  const names = plan.buffers.filter((buffer) => buffer.kind === "weight").map((buffer) => buffer.name);
  const [codec, code, host] = await Promise.all([
    makeCodec(bundle, forTexts),
    forTexts,
    Host.load(wasm),
    bringWeights(bundle, names, cpu.sink, controller),
  ]);
  timings.weights_s = seconds() - timings.manifest_s;
  cpu.link.check();
  log.say(1, ({ took }) => took(`load ${manifest.name}, ${cpu.threads} threads`, 1000 * seconds()));
  return {
    base: source.base,
    manifest,
    tier,
    activations: activationsOf(tier),
    adapter: CPU_FACTS,
    threads: cpu.threads,
    guard: cpu.link,
    memory: { use: cpu.memory, destroy: () => cpu.link.close() },
    model: cpu.model,
    texts: code?.openTexts(manifest, plan, codec, contextLength, {
      calls: cpu.textCalls,
      callTokens: sizes.prefillChunk,
    }),
    contextLength,
    host,
    codec,
    checking: () => progress.check(),
    ready: () => progress.ready(),
    timings: { ...timings, choice: undefined, total_s: seconds() },
    validation: async () => (manifest.validation === undefined ? undefined : readText(manifest.validation)),
  };
}
