// Time per kernel from timestamp queries, next to what a plain copy of the same size reaches on this device.
import type { GpuModelParts } from "../decode/gpu_model.js";

export interface ProfileOptions { readonly context?: number; readonly prefill?: number; readonly repeats?: number }
export interface LaunchTime {
  readonly kernel: string;
  /** Median, with the launch in a pass of its own. */
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
    const count = entry.launches.length;
    const querySet = device.createQuerySet({ type: "timestamp", count: count * 2 });
    const resolved = device.createBuffer({ size: count * 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
    const read = device.createBuffer({ size: count * 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const found: number[][] = entry.launches.map(() => []);
    for (let repeat = 0; repeat <= repeats; repeat++) {
      before();
      const encoder = device.createCommandEncoder();
      entry.replayTimed(encoder, querySet);
      encoder.resolveQuerySet(querySet, 0, count * 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, read, 0, count * 16);
      device.queue.submit([encoder.finish()]);
      await read.mapAsync(GPUMapMode.READ);
      const stamps = new BigUint64Array(read.getMappedRange());
      if (repeat > 0) found.forEach((values, i) => values.push(Number(stamps[2 * i + 1]! - stamps[2 * i]!) / 1000));
      read.unmap();
    }
    for (const made of [querySet, resolved, read]) made.destroy();
    return entry.launches.map(({ kernel, weightBytes }, i) => ({ kernel, weightBytes, microseconds: median(found[i]!) }));
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

/** Reads half of `bytes` and writes the other half, each launch on other memory than the last, so no cache helps. */
async function copySpeed(device: GPUDevice, bytes: number, repeats: number): Promise<number> {
  const half = Math.ceil(bytes / 2 / 16) * 16, groups = Math.min(65535, Math.ceil(half / 16 / 256));
  const pairs = Math.min(32, Math.max(2, Math.ceil(256e6 / bytes)));
  const code = `@group(0) @binding(0) var<storage, read> from: array<vec4<u32>>; @group(0) @binding(1) var<storage, read_write> to: array<vec4<u32>>;
    @compute @workgroup_size(256) fn copy(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
      for (var i = id.x; i < ${half / 16}u; i += groups.x * 256u) { to[i] = from[i]; } }`;
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module: device.createShaderModule({ code }), entryPoint: "copy" } });
  const made: GPUBuffer[] = [];
  const make = (): GPUBuffer => { const b = device.createBuffer({ size: half, usage: GPUBufferUsage.STORAGE }); made.push(b); return b; };
  const bindings = Array.from({ length: pairs }, () => device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0), entries: [make(), make()].map((buffer, binding) => ({ binding, resource: { buffer } })),
  }));
  const querySet = device.createQuerySet({ type: "timestamp", count: pairs * 2 });
  const resolved = device.createBuffer({ size: pairs * 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
  const read = device.createBuffer({ size: pairs * 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const found: number[] = [];
  for (let repeat = 0; repeat < Math.max(2, Math.ceil(repeats / 4)); repeat++) {
    const encoder = device.createCommandEncoder();
    bindings.forEach((group, i) => {
      const pass = encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 } });
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(groups);
      pass.end();
    });
    encoder.resolveQuerySet(querySet, 0, pairs * 2, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, read, 0, pairs * 16);
    device.queue.submit([encoder.finish()]);
    await read.mapAsync(GPUMapMode.READ);
    const stamps = new BigUint64Array(read.getMappedRange());
    if (repeat > 0) for (let i = 0; i < pairs; i++) found.push(Number(stamps[2 * i + 1]! - stamps[2 * i]!));
    read.unmap();
  }
  for (const thing of [querySet, resolved, read, ...made]) thing.destroy();
  return (half * 2) / (median(found) * 1e-9);
}
