// Profiles one decode step with its sampling, and one prefill chunk at the beginning of a context.
import type { Manifest } from "../bundle/index.js";
import { type GpuModel, stateWords } from "../decode/index.js";
import { InvalidRequestError } from "../errors.js";
import type { Entry } from "../plan/index.js";
import { arithmeticSpeed, copySpeed } from "./peak.js";
import { chained, type Encode, type InOrder, median, openTimer, submit, type Timer, type TimerKind } from "./timer.js";
import { type Work, workOf } from "./work.js";

export interface ProfileOptions {
  /** Tokens in the KV cache before the decode step; 512 where they fit. */
  readonly context?: number | undefined;
  /** Tokens of the prefill chunk, at most the model's chunk. */
  readonly prefill?: number | undefined;
  /** Times that everything is measured, of which medians are reported; a slow device gets fewer. */
  readonly repeats?: number | undefined;
  /** "wall" leaves timestamps aside. */
  readonly timing?: TimerKind | undefined;
}
/** All of a kernel's launches in an entry; work and time are sums over them. */
export interface KernelProfile extends Work {
  readonly name: string;
  /** The model's operation, of several that it does the first. */
  readonly op: string;
  readonly launches: number;
  /** Time from one launch to the next in a chain of this kernel's launches over all layers, times `launches`. */
  readonly microseconds: number;
  /** What a copy of as many bytes as one launch reads reaches; null for less than 256 KiB. */
  readonly copy_bytes_per_s: number | null;
}
export interface TimelineLaunch {
  readonly kernel: string;
  readonly op: string;
  readonly microseconds: number;
}
export interface EntryProfile {
  readonly tokens: number;
  readonly position: number;
  readonly dispatches: number;
  readonly kernels: readonly KernelProfile[];
  /** As the engine replays it, one pass, with many in flight: wall time. */
  readonly microseconds: number;
  /** CPU time to encode and submit it. */
  readonly encode_microseconds: number;
  /** Each launch in order. "chains": they cannot be told apart, so each is given its kernel's time in a chain. */
  readonly timeline: { readonly source: InOrder["source"] | "chains"; readonly launches: readonly TimelineLaunch[] };
}
export interface ProfileReport {
  readonly timing: TimerKind;
  /** Timestamps are multiples of 65.5 or 100 us: Chromium was not started with --enable-webgpu-developer-features. */
  readonly rounded_timestamps: boolean;
  readonly decode: EntryProfile;
  readonly prefill: EntryProfile;
  readonly device: {
    readonly copy: readonly { readonly bytes: number; readonly bytes_per_s: number }[];
    readonly f32_flops_per_s: number;
    readonly f16_flops_per_s: number | null;
  };
}

/** Positions after the context that measuring may write to. */
const ROOM = 64;
/** Smaller copies measure a launch, and the largest what the memory gives. */
const SMALLEST_COPY = 1 << 18,
  LARGEST_COPY = 1 << 26;
const SECOND_US = 1e6;
const WARM_UP_MS = 500;
/** Steps submitted at once, as the decode loop does on a fast device. */
const AHEAD = 16,
  BATCH = 4;

export async function profileModel(
  model: GpuModel,
  manifest: Manifest,
  options: ProfileOptions,
): Promise<ProfileReport> {
  const { context = Math.min(512, model.contextLength - ROOM), prefill = 512, repeats = 20, timing } = options;
  for (const [name, value] of Object.entries({ context, prefill, repeats })) {
    if (!Number.isInteger(value) || value < 1) throw new InvalidRequestError(name, "must be a positive integer.");
  }
  if (context + ROOM > model.contextLength)
    throw new InvalidRequestError(
      "context",
      `must leave ${ROOM} of the ${model.contextLength} tokens loaded for.`,
      "Load with a larger contextLength.",
    );
  const { device, entries } = model.parts;
  const timer = await openTimer(device, timing);
  try {
    const profiler = new Profiler(model, manifest, timer, repeats);
    await profiler.warmUp();
    const decoded = await profiler.entry([entries.decode, entries.sample], 1, context);
    const chunk = await profiler.entry([entries.prefill], Math.min(prefill, model.prefillChunk), 0);
    await profiler.copy(LARGEST_COPY);
    return {
      timing: timer.kind,
      rounded_timestamps: timer.kind === "timestamps" && timer.shortest > 0,
      decode: decoded,
      prefill: chunk,
      device: {
        copy: [...profiler.copies].sort(([a], [b]) => a - b).map(([bytes, bytes_per_s]) => ({ bytes, bytes_per_s })),
        f32_flops_per_s: await arithmeticSpeed(device, timer, "f32", repeats),
        f16_flops_per_s: device.features.has("shader-f16")
          ? await arithmeticSpeed(device, timer, "f16", repeats)
          : null,
      },
    };
  } finally {
    timer.destroy();
  }
}

class Profiler {
  readonly copies = new Map<number, number>();
  private readonly device: GPUDevice;
  constructor(
    private readonly model: GpuModel,
    private readonly manifest: Manifest,
    private readonly timer: Timer,
    private readonly repeats: number,
  ) {
    this.device = model.parts.device;
  }

  /** Until a GPU that was idle has raised its clocks: what is measured first took more than twice as long. */
  async warmUp(): Promise<void> {
    const { decode } = this.model.parts.entries,
      end = performance.now() + WARM_UP_MS;
    let many = 1;
    do {
      const start = performance.now();
      for (let i = 0; i < many; i++) submit(this.device, (pass) => decode.replay(pass));
      await this.device.queue.onSubmittedWorkDone();
      many = Math.max(1, Math.min(64, Math.round((many * 20) / (performance.now() - start))));
    } while (performance.now() < end);
  }

  async entry(entries: readonly Entry[], tokens: number, position: number): Promise<EntryProfile> {
    const { queue } = this.device,
      { buffers, entries: all } = this.model.parts;
    const decode = entries[0] === all.decode;
    await this.model.setSampling({ temperature: 0, topP: 1, topK: 0, seed: 0 });
    if (!decode) {
      queue.writeBuffer(buffers.get("tokens")!, 0, new Int32Array(tokens).fill(1));
      all.prefill.prepare([tokens]);
    }
    const before = (): void => queue.writeBuffer(buffers.get("state")!, 0, stateWords(position, 1, tokens));
    const kernels: KernelProfile[] = [];
    for (const entry of entries)
      for (const kernel of new Set(entry.launches.map((l) => l.kernel.name)))
        kernels.push(await this.kernel(entry, kernel, tokens, position, before));
    const launches = entries.flatMap((entry) =>
      entry.launches.map((launch, i) => ({
        kernel: launch.kernel.name,
        op: launch.op,
        encode: (pass: GPUComputePassEncoder) => entry.replayLaunches(pass, [i]),
      })),
    );
    const replay: Encode = (pass) => {
      for (const entry of entries) entry.replay(pass);
    };
    const microseconds = await this.timeInFlight(replay, before);
    const timed = await this.inOrder(
      launches.map((l) => l.encode),
      before,
    );
    const each = new Map(kernels.map((kernel) => [kernel.name, kernel.microseconds / kernel.launches]));
    return {
      tokens,
      position,
      dispatches: launches.length,
      kernels,
      microseconds,
      encode_microseconds: await (decode ? this.encodeSteps(microseconds, before) : this.encodeChunk(replay, before)),
      timeline: {
        source: timed?.source ?? "chains",
        launches: launches.map(({ kernel, op }, i) => ({
          kernel,
          op,
          microseconds: timed?.microseconds[i] ?? each.get(kernel)!,
        })),
      },
    };
  }

  private async kernel(
    entry: Entry,
    name: string,
    tokens: number,
    position: number,
    before: () => void,
  ): Promise<KernelProfile> {
    const indices = entry.launches.flatMap((launch, i) => (launch.kernel.name === name ? [i] : []));
    const encode = (pass: GPUComputePassEncoder, count: number): void =>
      entry.replayLaunches(
        pass,
        Array.from({ length: count }, (_, i) => indices[i % indices.length]!),
      );
    const us = await chained(this.timer, encode, { repeats: this.repeats, rounds: indices.length, before });
    const works = indices.map((i) => workOf(entry.launches[i]!, this.manifest, tokens, position));
    const sum = (key: keyof Work): number => works.reduce((total, work) => total + work[key], 0);
    const bytes = Math.round((sum("weight_bytes") + sum("kv_bytes")) / indices.length);
    return {
      name,
      op: entry.launches[indices[0]!]!.op,
      launches: indices.length,
      microseconds: us * indices.length,
      weight_bytes: sum("weight_bytes"),
      kv_bytes: sum("kv_bytes"),
      flops: sum("flops"),
      copy_bytes_per_s: bytes < SMALLEST_COPY ? null : await this.copy(bytes),
    };
  }

  async copy(bytes: number): Promise<number> {
    const known = this.copies.get(bytes) ?? (await copySpeed(this.device, this.timer, bytes, this.repeats));
    this.copies.set(bytes, known);
    return known;
  }

  /** Microseconds of wall time per submission, with several of them in flight. */
  private async timeInFlight(encode: Encode, before: () => void): Promise<number> {
    const { queue } = this.device;
    const time = async (count: number): Promise<number> => {
      before();
      await queue.onSubmittedWorkDone();
      const start = performance.now();
      for (let i = 0; i < count; i++) submit(this.device, encode);
      await queue.onSubmittedWorkDone();
      return ((performance.now() - start) * 1000) / count;
    };
    const count = Math.min(AHEAD * 2, Math.max(2, Math.floor(SECOND_US / (await time(1)))));
    const samples: number[] = [];
    for (let i = 0; i < Math.min(this.repeats, 5) && (i === 0 || i * count * samples[0]! < SECOND_US); i++)
      samples.push(await time(count));
    return median(samples);
  }

  /** Each launch's median time. */
  private async inOrder(launches: readonly Encode[], before: () => void): Promise<InOrder | undefined> {
    const samples: InOrder[] = [];
    const began = performance.now();
    while (samples.length < this.repeats && (samples.length < 1 || (performance.now() - began) * 1000 < SECOND_US)) {
      before();
      const timed = await this.timer.inOrder(launches);
      if (!timed) return undefined;
      samples.push(timed);
    }
    return {
      source: samples[0]!.source,
      microseconds: launches.map((_, i) => median(samples.map((timed) => timed.microseconds[i]!))),
    };
  }

  /** Microseconds of this thread for a decode step, through the calls of the decode loop. */
  private async encodeSteps(stepMicroseconds: number, before: () => void): Promise<number> {
    const [ahead, batch] = stepMicroseconds * AHEAD < SECOND_US ? [AHEAD, BATCH] : [1, 1];
    let spent = 0,
      steps = 0;
    for (let round = 0; round < this.repeats && (round < 1 || steps * stepMicroseconds < SECOND_US); round++) {
      before();
      const reading: Promise<number[]>[] = [];
      const start = performance.now();
      for (let i = 0; i < ahead; i += batch) reading.push(this.model.steps(batch));
      spent += performance.now() - start;
      steps += ahead;
      await Promise.all(reading);
    }
    return (spent * 1000) / steps;
  }

  private async encodeChunk(encode: Encode, before: () => void): Promise<number> {
    before();
    await this.device.queue.onSubmittedWorkDone();
    const start = performance.now();
    for (let i = 0; i < BATCH; i++) submit(this.device, encode);
    const spent = performance.now() - start;
    await this.device.queue.onSubmittedWorkDone();
    return (spent * 1000) / BATCH;
  }
}
