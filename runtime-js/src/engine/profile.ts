// Time per kernel from timestamp queries, next to what a plain copy of the same size reaches on this device.
import type { GpuModelParts } from "../decode/gpu_model.js";

export interface ProfileOptions { readonly context?: number; readonly prefill?: number; readonly repeats?: number }
export interface LaunchTime {
  readonly kernel: string;
  /** Median time from one launch to the next, in a pass of launches of this kernel on all layers' weights. */
  readonly microseconds: number;
  /** Bytes of weights that it reads. */
  readonly weightBytes: number;
}
export interface ProfileReport {
  readonly context: number;
  readonly prefill: number;
  /** One decode step with its sampling, launch by launch, and one prefill chunk. */
  readonly decodeLaunches: readonly LaunchTime[];
  readonly prefillLaunches: readonly LaunchTime[];
  /** A step and a chunk as they are replayed, in one pass each: wall time with many in flight. */
  readonly decodeMicroseconds: number;
  readonly prefillMicroseconds: number;
  /** Time on this thread to encode and submit a step. */
  readonly encodeMicroseconds: number;
  /** Bytes moved (read and written) per second by a copy kernel, by the bytes it moves. */
  readonly copy: readonly { readonly bytes: number; readonly bytesPerSecond: number }[];
}

/** Launches timed together. */
const LAUNCHES = 48;

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

export async function profileModel(parts: GpuModelParts, { context = 512, prefill = 512, repeats = 20 }: ProfileOptions): Promise<ProfileReport> {
  const { device, entries, buffers } = parts;
  const { decode, sample, prefill: chunk } = entries;
  const n = Math.min(prefill, parts.prefillChunk);
  const state = (position: number, advance: number): void => device.queue.writeBuffer(buffers.get("state")!, 0, new Int32Array([position, 1, advance, 0, 0, 0, 0, 0]));
  device.queue.writeBuffer(buffers.get("sampling")!, 0, new Int32Array(8));
  device.queue.writeBuffer(buffers.get("tokens")!, 0, new Int32Array(n).fill(1));
  chunk.prepare([n]);

  const times = async (entry: typeof decode, before: () => void): Promise<LaunchTime[]> => {
    const kernels = [...new Set(entry.launches.map((launch) => launch.kernel))];
    const many = kernels.map((kernel) => { const n = entry.launches.filter((l) => l.kernel === kernel).length; return n * Math.ceil(LAUNCHES / n); });
    const stamps = new Stamps(device, kernels.length);
    const found: number[][] = kernels.map(() => []);
    for (let repeat = 0; repeat <= repeats; repeat++) {
      before();
      const spans = await stamps.measure((i) => (pass) => entry.replayKernel(pass, kernels[i]!, many[i]!));
      if (repeat > 0) found.forEach((values, i) => values.push(spans[i]! / many[i]! / 1000));
    }
    stamps.destroy();
    const each = new Map(kernels.map((kernel, i) => [kernel, median(found[i]!)]));
    return entry.launches.map(({ kernel, weightBytes }) => ({ kernel, weightBytes, microseconds: each.get(kernel)! }));
  };

  let encoding = 0;
  const wall = async (count: number, encode: (pass: GPUComputePassEncoder) => void, before?: () => void): Promise<number> => {
    await device.queue.onSubmittedWorkDone();
    const start = performance.now();
    encoding = 0;
    for (let i = 0; i < count; i++) {
      before?.();
      const began = performance.now();
      const encoder = device.createCommandEncoder(), pass = encoder.beginComputePass();
      encode(pass);
      pass.end();
      device.queue.submit([encoder.finish()]);
      encoding += performance.now() - began;
    }
    await device.queue.onSubmittedWorkDone();
    return ((performance.now() - start) / count) * 1000;
  };
  const step = (pass: GPUComputePassEncoder): void => { decode.replay(pass); sample.replay(pass); };

  const decodeLaunches = [...(await times(decode, () => state(context, 1))), ...(await times(sample, () => state(context, 1)))];
  const prefillLaunches = await times(chunk, () => state(0, n));
  state(context, 0); // advance 0 once, then sample sets 1: the context grows by the repeats, which is little
  await wall(repeats, step);
  const decodeMicroseconds = await wall(repeats, step);
  const encodeMicroseconds = (encoding / repeats) * 1000;
  const few = Math.max(2, Math.ceil(repeats / 4));
  const prefillMicroseconds = await wall(few, (pass) => chunk.replay(pass), () => state(0, n));
  const sizes = [...new Set([...decodeLaunches].map((l) => l.weightBytes).filter((b) => b >= 1 << 18))].sort((a, b) => a - b);
  const copy = [];
  for (const bytes of sizes) copy.push({ bytes, bytesPerSecond: await copySpeed(device, bytes, repeats) });
  return { context, prefill: n, decodeLaunches, prefillLaunches, decodeMicroseconds, prefillMicroseconds, encodeMicroseconds, copy };
}

/** Timestamps around passes. */
class Stamps {
  private readonly querySet: GPUQuerySet;
  private readonly resolved: GPUBuffer;
  private readonly read: GPUBuffer;
  constructor(private readonly device: GPUDevice, private readonly count: number) {
    this.querySet = device.createQuerySet({ type: "timestamp", count: count * 2 });
    this.resolved = device.createBuffer({ size: count * 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
    this.read = device.createBuffer({ size: count * 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  }

  /** Nanoseconds of each pass; all are in one submission. */
  async measure(encode: (index: number) => (pass: GPUComputePassEncoder) => void): Promise<number[]> {
    const encoder = this.device.createCommandEncoder();
    for (let i = 0; i < this.count; i++) {
      const pass = encoder.beginComputePass({ timestampWrites: { querySet: this.querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 } });
      encode(i)(pass);
      pass.end();
    }
    encoder.resolveQuerySet(this.querySet, 0, this.count * 2, this.resolved, 0);
    encoder.copyBufferToBuffer(this.resolved, 0, this.read, 0, this.count * 16);
    this.device.queue.submit([encoder.finish()]);
    await this.read.mapAsync(GPUMapMode.READ);
    const stamps = new BigUint64Array(this.read.getMappedRange());
    const spans = Array.from({ length: this.count }, (_, i) => Number(stamps[2 * i + 1]! - stamps[2 * i]!));
    this.read.unmap();
    return spans;
  }

  destroy(): void { for (const made of [this.querySet, this.resolved, this.read]) made.destroy(); }
}

/** Reads half of `bytes` and writes the other half, each launch on other memory than the last, so no cache helps. */
async function copySpeed(device: GPUDevice, bytes: number, repeats: number): Promise<number> {
  const half = Math.ceil(bytes / 2 / 16) * 16, groups = Math.min(65535, Math.ceil(half / 16 / 256));
  const pairs = Math.min(64, Math.max(2, Math.ceil(400e6 / bytes))), launches = Math.max(pairs, 16);
  const code = `@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>; @group(0) @binding(1) var<storage, read_write> sink: array<vec4<u32>>;
    @compute @workgroup_size(256) fn copy(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
      for (var i = id.x; i < ${half / 16}u; i += groups.x * 256u) { sink[i] = source[i]; } }`;
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module: device.createShaderModule({ code }), entryPoint: "copy" } });
  const made: GPUBuffer[] = [];
  const make = (): GPUBuffer => { const b = device.createBuffer({ size: half, usage: GPUBufferUsage.STORAGE }); made.push(b); return b; };
  // Launch i copies into what launch i + 1 reads, as kernels of a model do: neither may begin before the other ends.
  const chain = Array.from({ length: pairs + 1 }, make);
  const groupsOf = (a: number, b: number): GPUBindGroup => device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0), entries: [chain[a]!, chain[b]!].map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  const bindings = Array.from({ length: pairs + 1 }, (_, i) => groupsOf(i, (i + 1) % (pairs + 1)));
  const stamps = new Stamps(device, 1);
  const found: number[] = [];
  for (let repeat = 0; repeat <= Math.max(2, Math.ceil(repeats / 4)); repeat++) {
    const [span] = await stamps.measure(() => (pass) => {
      pass.setPipeline(pipeline);
      for (let i = 0; i < launches; i++) { pass.setBindGroup(0, bindings[i % bindings.length]!); pass.dispatchWorkgroups(groups); }
    });
    if (repeat > 0) found.push(span! / launches);
  }
  stamps.destroy();
  for (const buffer of made) buffer.destroy();
  return (half * 2) / (median(found) * 1e-9);
}
