// Loading: manifest, adapter and tier, plan and wasm, then weights to the GPU while pipelines are made. Whatever fails,
// everything that was allocated is destroyed before the error is thrown.
import {
  type FetchLike,
  type Manifest,
  Source,
  streamWeights,
  type Tier,
  type Warning,
  type WeightSink,
} from "../bundle/index.js";
import { FIRST_TOKENS, GpuModel } from "../decode/index.js";
import { capabilities, isSoftware } from "../device/adapter.js";
import {
  type AdapterFacts,
  chooseTier,
  describeAdapter,
  Guard,
  Memory,
  openDevice,
  requestAdapter,
  together,
} from "../device/index.js";
import { CancelledError, InvalidRequestError, throwIfAborted } from "../errors.js";
import {
  type Buffers,
  Entry,
  Host,
  kernelsOf,
  largestBuffer,
  Pipelines,
  PlanBuffers,
  type PlanEntry,
  parsePlan,
  splitKernels,
} from "../plan/index.js";
import type { TextCodec } from "../text/codec.js";
import {
  type Activations,
  type ChoiceReport,
  firstMade,
  matrixNeeds,
  openChoice,
  requestPipelines,
} from "./activations.js";
import { type LoadProgress, Progress } from "./progress.js";

export interface LoadOptions {
  readonly onProgress?: (progress: LoadProgress) => void;
  readonly onWarning?: (warning: Warning) => void;
  readonly signal?: AbortSignal | undefined;
  /** A tier's name; by default the best that the GPU has the features for. */
  readonly tier?: string | undefined;
  /** Prefill's activations: "float"; "int8", which rounds them to eight bits, in groups of 32 as the weights are; or "matrix",
   * float16 on subgroup matrices, of a bundle compiled with --matrix. By default the fastest on this GPU, timed at the first load. */
  readonly activations?: Activations | undefined;
  /** Tokens that a conversation may have; by default the model's, at most 4096. */
  readonly contextLength?: number | undefined;
  /** Tokens of KV cache to allocate at load; it doubles when a conversation needs more, up to contextLength. By default
   * 1024. */
  readonly firstTokens?: number | undefined;
  /** Keep the bundle in the Cache API; true by default. */
  readonly cache?: boolean | undefined;
  /** Decode steps in flight. */
  readonly depth?: number | undefined;
  readonly powerPreference?: GPUPowerPreference | undefined;
  /** Open the device with timestamps, for `profile`. */
  readonly profile?: boolean | undefined;
  readonly fetch?: FetchLike | undefined;
}

/** Tokens of a prefill chunk on a CPU. */
const SOFTWARE_CHUNK = 128;

export interface Timings {
  readonly manifest_s: number;
  /** Timing prefill's activations: what uploads of weights waited for; 0 where they are known. */
  readonly choice_s: number;
  /** What was timed for it. */
  readonly choice: ChoiceReport | undefined;
  readonly weights_s: number;
  readonly kernels_s: number;
  readonly total_s: number;
}

export interface Loaded {
  readonly base: string;
  readonly manifest: Manifest;
  readonly tier: Tier;
  readonly activations: Activations;
  readonly adapter: AdapterFacts;
  readonly device: GPUDevice;
  readonly guard: Guard;
  readonly memory: Memory;
  readonly model: GpuModel;
  readonly host: Host;
  readonly codec: TextCodec;
  readonly timings: Timings;
  /** The bytes of validation.json, fetched when asked for. */
  readonly validation: () => Promise<string | undefined>;
}

export async function load(url: string, options: LoadOptions): Promise<Loaded> {
  const controller = new AbortController();
  const forward = (): void => controller.abort(options.signal?.reason);
  throwIfAborted(options.signal);
  options.signal?.addEventListener("abort", forward, { once: true });
  const undo: (() => void)[] = [];
  try {
    const loaded = await loadUnder(url, options, controller, undo);
    throwIfAborted(options.signal);
    return loaded;
  } catch (error) {
    controller.abort(error);
    for (const step of undo.reverse()) step();
    if (options.signal?.aborted) throw new CancelledError("The load was cancelled.", options.signal.reason);
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", forward);
  }
}

async function loadUnder(
  url: string,
  options: LoadOptions,
  controller: AbortController,
  undo: (() => void)[],
): Promise<Loaded> {
  const { signal } = controller;
  const started = performance.now();
  const seconds = (): number => (performance.now() - started) / 1000;
  const progress = new Progress(options.onProgress);
  const source = await Source.open(url, {
    fetch: options.fetch,
    cache: options.cache,
    signal,
    onWarning: options.onWarning,
    onBytes: (n) => progress.bytes(n),
  });
  progress.manifest();
  const manifest = await source.manifest();
  const adapter = await requestAdapter(options.powerPreference);
  const tier = chooseTier(manifest.tiers, capabilities(adapter), options.tier);
  const contextLength = chooseContext(manifest, options.contextLength);
  const pageSize = manifest.model.page_size;
  const pages = Math.ceil(contextLength / pageSize),
    firstPages = Math.ceil(chooseFirst(contextLength, options.firstTokens) / pageSize);
  progress.expect(bytesToLoad(manifest, tier));
  const read = async (name: string): Promise<string> => new TextDecoder().decode(await source.file(manifest, name));

  const [planText, kernelText, wasm] = await Promise.all([
    read(tier.plan),
    read(tier.kernels),
    source.file(manifest, manifest.wasm),
  ]);
  const plan = parsePlan(planText, manifest);
  const manifest_s = seconds();
  const needs = matrixNeeds(options.activations, plan, adapter, tier, manifest);
  const device = await openDevice(adapter, together(tier, needs), largestBuffer(plan, pages), options.profile);
  const guard = new Guard(device);
  const memory = new Memory(device);
  undo.push(
    () => guard.close(),
    () => memory.destroy(),
  );
  throwIfAborted(signal);

  let kernels_s = 0,
    weights_s = 0;
  const pipelines = new Pipelines(device);
  const wgsl = splitKernels(kernelText),
    host = await Host.load(wasm);
  const choice = await openChoice(options.activations, {
    source,
    manifest,
    plan,
    adapter,
    tier,
    matrix: needs !== undefined,
  });
  const most = Math.max(...choice.prefills.map(({ entry }) => new Set([...choice.certain, ...kernelsOf(entry)]).size));
  let made = 0;
  const one = (): void => progress.kernel(Math.min(++made, most), most);
  const { able, certain } = requestPipelines(pipelines, plan, wgsl, choice, one, options.onWarning);
  const planBuffers = await PlanBuffers.allocate(plan, memory, firstPages);
  const buffers = planBuffers.all;
  let choice_s = 0,
    measured: Promise<unknown> = Promise.resolve();
  const ranked = able.then(async (prefills) => {
    throwIfAborted(signal);
    const start = seconds();
    const ranking = choice.rank(prefills, device, guard, host, pipelines);
    measured = ranking.catch(() => {}); // Uploads, which would be timed too, wait for it.
    const found = await ranking;
    choice_s = seconds() - start;
    return found;
  });
  const names = plan.buffers.filter((b) => b.kind === "weight").map((b) => b.name);
  const weights = streamWeights(
    source,
    manifest,
    names,
    sink(device, guard, buffers, () => measured),
    controller,
  ).then(() => {
    weights_s = seconds() - manifest_s;
  });
  const prefillDone = ranked.then((prefills) =>
    firstMade(prefills, choice, pipelines, plan, wgsl, one, options.onWarning),
  );
  const kernelsDone = Promise.all([prefillDone, certain]).then(([prefill]) => {
    kernels_s = seconds() - manifest_s;
    return prefill;
  });
  const [, { activations, entry: prefill }, codec] = await settle(controller, [
    weights,
    kernelsDone,
    makeCodec(manifest, read),
  ] as const);

  const ready = (entry: PlanEntry): Entry => {
    host.requireFunction(entry.launch);
    return new Entry(device, host, entry, plan, memory, buffers, pipelines);
  };
  const entries = await memory.scoped(() => ({
    prefill: ready(prefill),
    decode: ready(plan.entries.decode),
    sample: ready(plan.entries.sample),
  }));
  const { vocab_size: vocabSize } = manifest.model;
  // A cancellation is heard between chunks, so where a token takes long, they are short.
  const prefillChunk = isSoftware(adapter.info)
    ? Math.min(SOFTWARE_CHUNK, manifest.model.prefill_chunk)
    : manifest.model.prefill_chunk;
  const model = new GpuModel({
    device,
    guard,
    memory,
    planBuffers,
    buffers,
    entries,
    vocabSize,
    prefillChunk,
    contextLength,
    pageSize,
  });
  guard.check();
  progress.ready();
  return {
    base: source.base,
    manifest,
    tier,
    activations,
    adapter: describeAdapter(adapter),
    device,
    guard,
    memory,
    model,
    host,
    codec,
    timings: { manifest_s, choice_s, choice: choice.report, weights_s, kernels_s, total_s: seconds() },
    validation: async () => (manifest.validation === undefined ? undefined : read(manifest.validation)),
  };
}

/** All values; the first failure cancels the rest, and all of them have ended when it is thrown. */
async function settle<T extends readonly unknown[]>(
  controller: AbortController,
  work: { [K in keyof T]: Promise<T[K]> },
): Promise<T> {
  let failure: { error: unknown } | undefined;
  const fail = (error: unknown): void => {
    // A cancellation that a failure set off is not the failure.
    if (!failure || failure.error instanceof CancelledError) failure = { error };
    controller.abort(error);
  };
  const results = await Promise.all(work.map((promise) => (promise as Promise<unknown>).catch(fail)));
  if (failure) throw failure.error;
  return results as unknown as T;
}

function sink(device: GPUDevice, guard: Guard, buffers: Buffers, ready: WeightSink["ready"]): WeightSink {
  return {
    ready,
    write(tensor, offset, bytes) {
      guard.check();
      const buffer = buffers.get(tensor)!;
      const even = bytes.length - (bytes.length % 4);
      if (even > 0) device.queue.writeBuffer(buffer, offset, bytes, 0, even);
      if (even === bytes.length) return;
      // Only a tensor's own end can be odd: chunks and offsets are multiples of 16.
      const tail = new Uint8Array(4);
      tail.set(bytes.subarray(even));
      device.queue.writeBuffer(buffer, offset + even, tail);
    },
    flushed: () => guard.race(device.queue.onSubmittedWorkDone()),
  };
}

async function makeCodec(manifest: Manifest, read: (name: string) => Promise<string>): Promise<TextCodec> {
  // A chunk of its own in the split build: fetched while weights are.
  const [{ TextCodec: Codec }, tokenizer, config] = await Promise.all([
    import("../text/codec.js"),
    read(manifest.tokenizer.tokenizer),
    read(manifest.tokenizer.config),
  ]);
  return Codec.parse(tokenizer, config);
}

export function chooseContext({ model }: Pick<Manifest, "model">, wanted: number | undefined): number {
  if (wanted === undefined) return Math.min(model.context_length, 4096);
  if (!Number.isInteger(wanted) || wanted < 2)
    throw new InvalidRequestError("contextLength", "must be an integer of at least 2.");
  if (wanted > model.context_length)
    throw new InvalidRequestError("contextLength", `is more than the model's ${model.context_length}.`);
  return wanted;
}

function chooseFirst(contextLength: number, wanted = FIRST_TOKENS): number {
  if (!Number.isInteger(wanted) || wanted < 1)
    throw new InvalidRequestError("firstTokens", "must be an integer of at least 1.");
  return Math.min(contextLength, wanted);
}

/** The tier's files and every chunk; a tier that binds fewer tensors may skip some chunks, which progress then overstates. */
function bytesToLoad(manifest: Manifest, tier: Tier): number {
  const { tokenizer, config } = manifest.tokenizer;
  const names = new Set([tier.plan, tier.kernels, manifest.wasm, tokenizer, config, ...manifest.chunks]);
  return [...names].reduce((sum, name) => sum + manifest.files.get(name)!.bytes, 0);
}
