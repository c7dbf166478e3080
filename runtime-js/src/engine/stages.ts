// Defines the stages of a load, in the order in which load.ts runs them. Each takes the results of those before it.
import { bytesOf, filesToLoad, type Manifest, Source, type Tier } from "../bundle/index.js";
import type { Carrier } from "../carriers/index.js";
import { GpuModel, ImageRows, recurrentOnGpu } from "../decode/index.js";
import { capabilities, isSoftware, requireBuffer } from "../device/adapter.js";
import { Guard, Memory, mergeRequirements, openDevice, Readbacks } from "../device/index.js";
import { isCpuTier, missingFor, NO_ADAPTER } from "../device/tier.js";
import { requireWasm } from "../device/wasm.js";
import type { TextsCode } from "../embed/code.js";
import type { Texts } from "../embed/texts.js";
import { NoWebGPUError, throwIfAborted } from "../errors.js";
import { mostRows } from "../images/facts.js";
import type { Log } from "../log.js";
import {
  type Buffers,
  Entry,
  Host,
  kernelsOf,
  largestBuffer,
  Pipelines,
  type Plan,
  type PlanBuffers,
  type PlanEntry,
  parsePlan,
  splitKernels,
} from "../plan/index.js";
import type { TextCodec } from "../text/codec.js";
import {
  type Activations,
  compileFirst,
  matrixNeeds,
  openChoice,
  type Prefill,
  type PrefillChoice,
  requestPipelines,
} from "./activations.js";
import { bringWeights, endCarriers, gpuSink, startCarriers } from "./bring_weights.js";
import { fetchCode } from "./late_code.js";
import { type CpuTarget, targetCpu } from "./on_cpu.js";
import { chooseContext, chooseFirstTokens, chooseVerify, type LoadOptions } from "./options.js";
import type { Progress } from "./progress.js";
import { warnOfQuota } from "./quota.js";
import { chooseFor, findAdapter, largestKvBuffer } from "./suits.js";
import type { Verdicts } from "./verdicts.js";

/** On an H200 a prefill of 2 to 32 tokens takes as long as eight steps of a 1B model. */
const STEP_TOKENS = 8;
/** Tokens of a prefill chunk on a CPU: a cancellation takes effect between chunks. */
export const SOFTWARE_CHUNK = 128;

/** What is known before a load. */
export interface Known {
  /** Of the bundle's kernels on this device, where they are checked. */
  readonly verdicts?: Verdicts | undefined;
  /** Of a model that is loaded again: it must be the same, whatever its host has now. */
  readonly manifest?: Manifest | undefined;
}

/** What all stages share. */
export interface Loading {
  readonly options: LoadOptions;
  /** Aborted when the caller cancels, and by the first failure. */
  readonly controller: AbortController;
  /** Frees what the stages allocated, in reverse. */
  readonly undo: (() => void)[];
  /** They watch what is opened. */
  readonly guards: Pick<Guard, "why">[];
  readonly known: Known;
  /** Since the load began. */
  readonly seconds: () => number;
  /** Each stage notes its own; those of weights and kernels begin when the plan is there. */
  readonly timings: { manifest_s: number; choice_s: number; weights_s: number; kernels_s: number };
  readonly progress: Progress;
  readonly log: Log;
}

export interface Bundle {
  readonly source: Source;
  readonly manifest: Manifest;
  readonly readText: (name: string) => Promise<string>;
  /** What brings the weights. */
  readonly carriers: Promise<readonly Carrier[]>;
}

/** Reads the manifest, where its model.wasm can run. */
export async function openBundle(
  url: string,
  { options, controller, undo, progress, known }: Loading,
): Promise<Bundle> {
  const source = await Source.open(url, {
    fetch: options.fetch,
    cache: options.cache,
    verify: chooseVerify(options.verify),
    signal: controller.signal,
    onWarning: options.onWarning,
    onBytes: (n) => progress.bytes(n),
  });
  progress.manifest();
  const [manifest] = await Promise.all([known.manifest ?? source.manifest(), requireWasm()]);
  const readText = async (name: string): Promise<string> => new TextDecoder().decode(await source.file(manifest, name));
  const carriers = startCarriers(source, manifest);
  undo.push(() => void endCarriers(carriers));
  return { source, manifest, readText, carriers };
}

export interface Target {
  readonly adapter: GPUAdapter;
  readonly tier: Tier;
  readonly contextLength: number;
  /** KV pages of a full context, and those to allocate at first. */
  readonly pages: number;
  readonly firstPages: number;
}

/** Chooses the adapter, the tier that it can run, and the size of the KV cache. */
export async function chooseTarget(
  { source, manifest }: Bundle,
  { options, progress, log, known: { verdicts } }: Loading,
): Promise<Target | CpuTarget> {
  const [found] = await Promise.all([
    findAdapter(manifest, options),
    options.cache !== false && warnOfQuota(manifest.weightBytes, options.onWarning),
  ]);
  const adapter = found instanceof NoWebGPUError ? undefined : found;
  const has = adapter ? capabilities(adapter) : NO_ADAPTER;
  const tier = await chooseFor(manifest, adapter, options, source, verdicts);
  log.say(2, ({ describeTier }) => {
    const asked = options.tier !== undefined;
    return describeTier(adapter?.info, has, manifest.tiers, tier, asked, (other) => missingFor(other, has));
  });
  const contextLength = chooseContext(manifest, options.contextLength);
  const firstTokens = chooseFirstTokens(contextLength, options.firstTokens);
  const pagesFor = (tokens: number): number => Math.ceil(tokens / manifest.model.page_size);
  const pages = pagesFor(contextLength);
  if (!adapter || isCpuTier(tier)) {
    const target = await targetCpu(tier, { contextLength, pages });
    progress.expect(bytesOf(manifest, filesToLoad(manifest, tier, target.kernels)));
    return target;
  }
  requireBuffer(adapter, tier, largestKvBuffer(tier, pages));
  progress.expect(bytesOf(manifest, filesToLoad(manifest, tier)));
  return { adapter, tier, contextLength, pages, firstPages: pagesFor(firstTokens) };
}

export interface Planned {
  readonly plan: Plan;
  readonly kernels: string;
  readonly wasm: Uint8Array<ArrayBuffer>;
}

/** Fetches the tier's plan, its kernels and model.wasm. */
export async function fetchPlan(
  { source, manifest, readText }: Bundle,
  { tier }: Target,
  { timings, seconds }: Loading,
): Promise<Planned> {
  const [text, kernels, wasm] = await Promise.all([
    readText(tier.plan),
    readText(tier.kernels),
    source.file(manifest, manifest.wasm),
  ]);
  const plan = parsePlan(text, manifest, tier.name);
  timings.manifest_s = seconds();
  return { plan, kernels, wasm };
}

export interface Gpu {
  readonly device: GPUDevice;
  readonly guard: Guard;
  readonly memory: Memory;
  readonly plan: Plan;
  readonly pipelines: Pipelines;
  readonly host: Host;
  /** Whether the device was opened with what `prefill_matrix` needs. */
  readonly matrix: boolean;
}

/** Opens the device, and starts model.wasm. */
export async function openGpu(
  manifest: Manifest,
  { adapter, tier, pages }: Target,
  { plan, kernels, wasm }: Planned,
  { options, controller, undo, guards, log }: Loading,
): Promise<Gpu> {
  const needs = matrixNeeds(options.activations, plan, adapter, tier, manifest);
  const device = await openDevice(adapter, mergeRequirements(tier, needs), largestBuffer(plan, pages), options.profile);
  const guard = new Guard(device);
  guards.push(guard);
  const memory = new Memory(device);
  undo.push(
    () => guard.close(),
    () => memory.destroy(),
  );
  throwIfAborted(controller.signal);
  const pipelines = new Pipelines(device, plan, splitKernels(kernels), log);
  return { device, guard, memory, plan, pipelines, host: await Host.load(wasm), matrix: needs !== undefined };
}

export interface Kernels {
  readonly choice: PrefillChoice;
  /** Called for each pipeline that is compiled. */
  readonly onCompiled: () => void;
  /** The prefills that can be timed, once their timed kernels are compiled. */
  readonly candidates: Promise<Prefill[]>;
  /** Resolves when the kernels that every prefill needs are compiled. */
  readonly common: Promise<void>;
}

/** Asks for all pipelines that are needed whichever prefill is chosen, and for those that are timed to choose it. */
export async function requestKernels(
  { source, manifest }: Bundle,
  { adapter, tier }: Target,
  { plan, pipelines, matrix }: Gpu,
  { options, progress, known: { verdicts } }: Loading,
): Promise<Kernels> {
  const isWrong = (activations: Activations): boolean => verdicts?.isWrong({ tier, activations }) ?? false;
  const choice = await openChoice(options.activations, { source, manifest, plan, adapter, tier, matrix, isWrong });
  const totals = choice.prefills.map(({ entry }) => new Set([...choice.common, ...kernelsOf(entry)]).size);
  const total = Math.max(...totals);
  let compiled = 0;
  const onCompiled = (): void => progress.kernel(Math.min(++compiled, total), total);
  return { choice, onCompiled, ...requestPipelines(pipelines, choice, onCompiled, options.onWarning) };
}

export interface Ranking {
  /** The prefills, the fastest first. */
  readonly ranked: Promise<readonly Prefill[]>;
  /** Resolves when no prefill is being timed: uploads, which would be timed too, wait for it. */
  readonly idle: () => Promise<unknown>;
}

/** Times the prefills, where that is still to be done. */
export function rankPrefills(
  { choice, candidates }: Kernels,
  gpu: Gpu,
  { controller, timings, seconds }: Loading,
): Ranking {
  let timing: Promise<unknown> = Promise.resolve();
  const ranked = candidates.then(async (prefills) => {
    throwIfAborted(controller.signal);
    const start = seconds();
    const ranking = choice.rank(prefills, gpu);
    timing = ranking.catch(() => {});
    const fastestFirst = await ranking;
    timings.choice_s = seconds() - start;
    return fastestFirst;
  });
  return { ranked, idle: () => timing };
}

/** Fetches the weights into their buffers. */
export async function uploadWeights(
  bundle: Bundle,
  { device, guard, plan }: Gpu,
  buffers: Buffers,
  { idle }: Ranking,
  { controller, timings, seconds }: Loading,
): Promise<void> {
  const names = plan.buffers.filter((buffer) => buffer.kind === "weight").map((buffer) => buffer.name);
  await bringWeights(bundle, names, gpuSink(device, guard, buffers, idle), controller);
  timings.weights_s = seconds() - timings.manifest_s;
}

/** Compiles the chosen prefill's other kernels; resolves when all that the model needs are compiled. */
export async function compilePrefill(
  { choice, onCompiled, common }: Kernels,
  { ranked }: Ranking,
  { pipelines }: Gpu,
  { options, timings, seconds, log }: Loading,
): Promise<Prefill> {
  const first = ranked.then((prefills) => compileFirst(prefills, choice, pipelines, onCompiled, options.onWarning));
  const [prefill] = await Promise.all([first, common]);
  timings.kernels_s = seconds() - timings.manifest_s;
  log.say(2, ({ describePrefill }) => describePrefill(prefill, choice));
  return prefill;
}

/** Reads the tokenizer and the chat template; their code is a chunk of its own in the split build. */
export async function makeCodec(
  { manifest, readText }: Bundle,
  code: Promise<TextsCode | undefined>,
): Promise<TextCodec> {
  const [{ TextCodec: Codec }, forTexts, tokenizer, config] = await Promise.all([
    import("../text/codec.js"),
    code,
    readText(manifest.tokenizer.tokenizer),
    readText(manifest.tokenizer.config),
  ]);
  return Codec.parse(tokenizer, config, forTexts?.correctEncoder);
}

/** Makes the bind groups of all entries, and the model that replays them. */
export async function makeModel(
  { model, images: facts }: Manifest,
  { adapter, contextLength }: Target,
  gpu: Gpu,
  planBuffers: PlanBuffers,
  prefill: PlanEntry,
  { log }: Loading,
): Promise<GpuModel> {
  const { device, guard, memory, plan, pipelines } = gpu;
  const buffers = planBuffers.all;
  const ready = (entry: PlanEntry): Entry => makeEntry(gpu, buffers, entry);
  const { decode, mask, sample, prefill_few, penalize, count, image } = plan.entries;
  const later = (entry: PlanEntry | undefined): (() => Promise<Entry>) | undefined =>
    entry &&
    (async () => {
      await pipelines.create(kernelsOf(entry));
      return memory.scoped(() => ready(entry));
    });
  const late = { prefill_few: later(prefill_few), penalize: later(penalize), count: later(count) };
  const entries = await memory.scoped(() => ({
    prefill: ready(prefill),
    decode: ready(decode),
    mask: ready(mask),
    sample: ready(sample),
  }));
  const recurrent = await recurrentOnGpu(plan, buffers, memory, device);
  const look = later(image);
  const together = facts?.together ?? false;
  const width = (1 + (facts?.added ?? 0)) * model.hidden_size;
  const row = facts && { merge: facts.merge, window: facts.window, width, together };
  const images = look && row && new ImageRows({ device, guard, memory, buffers, entry: look, ...row });
  const { vocab_size: vocabSize, prefill_chunk: chunk, page_size: pageSize } = model;
  const prefillChunk = Math.max(chunkFor(adapter, chunk), together ? mostRows(facts!) : 0);
  const stepTokens = isSoftware(adapter.info) ? 1 : STEP_TOKENS;
  const sizes = { vocabSize, prefillChunk, contextLength, pageSize, stepTokens };
  return new GpuModel({ device, guard, memory, planBuffers, buffers, entries, late, recurrent, images, log, ...sizes });
}

/** Fetches it for a model that needs it, and lets it check the manifest. */
export async function fetchTextsCode({ manifest }: Bundle, { options }: Loading): Promise<TextsCode | undefined> {
  if (!manifest.embedding && !manifest.reranking) return undefined;
  const module = options.embed ?? (await fetchCode(import("../embed/index.js"), "What reads texts", "embed"));
  const code = module.code as TextsCode;
  code.checkTextManifest(manifest);
  return code;
}

/** Makes the bind groups of a model of whole texts, and what answers with it. */
export function makeTexts(
  { onGpu, openTexts }: TextsCode,
  manifest: Manifest,
  { adapter, contextLength }: Target,
  gpu: Gpu,
  { all: buffers }: PlanBuffers,
  entry: PlanEntry,
  codec: TextCodec,
): Promise<Texts> {
  const readbacks = new Readbacks(gpu.guard, gpu.memory);
  const callTokens = chunkFor(adapter, manifest.model.prefill_chunk);
  return gpu.memory.scoped(() => {
    const calls = onGpu({ ...gpu, readbacks, buffers, entry: makeEntry(gpu, buffers, entry) });
    return openTexts(manifest, gpu.plan, codec, contextLength, { calls, callTokens });
  });
}

function makeEntry({ device, host, plan, memory, pipelines }: Gpu, buffers: Buffers, entry: PlanEntry): Entry {
  host.requireFunction(entry.launch);
  return new Entry(device, host, entry, plan, memory, buffers, pipelines);
}

/** A cancellation takes effect between chunks, so chunks are short where a token takes long. */
const chunkFor = ({ info }: GPUAdapter, chunk: number): number =>
  isSoftware(info) ? Math.min(SOFTWARE_CHUNK, chunk) : chunk;
