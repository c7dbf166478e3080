// Measures a device's peaks, with kernels that do nothing but copy, or nothing but multiply and add.
import { chained, type Timer } from "./timer.js";

/** Bytes moved (read and written) per second by a copy of half of `bytes` to the other half. A launch copies into the
 * buffer that the next one reads, as kernels of a model do, and works on other memory than the last, so that no cache
 * helps: the buffers have about `ringBytes` together. */
export async function copySpeed(
  device: GPUDevice,
  timer: Timer,
  bytes: number,
  repeats: number,
  ringBytes = 200e6,
): Promise<number> {
  const half = Math.min(Math.ceil(bytes / 2 / 16) * 16, device.limits.maxStorageBufferBindingSize),
    groups = Math.min(65535, Math.ceil(half / 16 / 256));
  const pipeline = await compile(
    device,
    `@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
    @group(0) @binding(1) var<storage, read_write> sink: array<vec4<u32>>;
    @compute @workgroup_size(256)
    fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
      for (var i = id.x; i < ${half / 16}u; i += groups.x * 256u) { sink[i] = source[i]; } }`,
  );
  const ring = Array.from({ length: Math.min(64, Math.max(2, Math.ceil((2 * ringBytes) / bytes))) + 1 }, () =>
    device.createBuffer({ size: half, usage: GPUBufferUsage.STORAGE }),
  );
  const bindings = ring.map((source, i) => bind(device, pipeline, [source, ring[(i + 1) % ring.length]!]));
  const us = await chained(
    timer,
    (pass, launches) => {
      pass.setPipeline(pipeline);
      for (let i = 0; i < launches; i++) {
        pass.setBindGroup(0, bindings[i % bindings.length]!);
        pass.dispatchWorkgroups(groups);
      }
    },
    { repeats },
  );
  for (const buffer of ring) buffer.destroy();
  return (half * 2) / (us * 1e-6);
}

/** Microseconds from one launch to the next, of launches of one workgroup that each wait for the one before. */
export async function launchTime(device: GPUDevice, timer: Timer, repeats: number): Promise<number> {
  const pipeline = await compile(
    device,
    `@group(0) @binding(0) var<storage, read_write> counts: array<u32, 64>;
    @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) id: u32) { counts[id] += 1u; }`,
  );
  const counts = device.createBuffer({ size: 256, usage: GPUBufferUsage.STORAGE });
  const group = bind(device, pipeline, [counts]);
  const us = await chained(
    timer,
    (pass, launches) => {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let i = 0; i < launches; i++) pass.dispatchWorkgroups(1);
    },
    { repeats },
  );
  counts.destroy();
  return us;
}

const GROUPS = 4096,
  THREADS = 256,
  CHAINS = 8,
  ITERATIONS = 128;

/** Floating-point operations per second of eight independent chains of vec4 multiply-adds a thread. */
export async function arithmeticSpeed(
  device: GPUDevice,
  timer: Timer,
  type: "f32" | "f16",
  repeats: number,
): Promise<number> {
  const each = (line: (i: number) => string): string =>
    Array.from({ length: CHAINS }, (_, i) => line(i)).join("\n      ");
  const pipeline = await compile(
    device,
    `${type === "f16" ? "enable f16;" : ""}
    @group(0) @binding(0) var<storage, read> seed: array<vec4<f32>>;
    @group(0) @binding(1) var<storage, read_write> sink: array<vec4<f32>>;
    @compute @workgroup_size(${THREADS}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
      let scale = vec4<${type}>(seed[0]); let offset = vec4<${type}>(seed[1]);
      ${each((i) => `var x${i} = vec4<${type}>(${type}(f32(id.x % 64u) * 0.01 + ${i}.0));`)}
      for (var n = 0; n < ${ITERATIONS}; n++) {
      ${each((i) => `x${i} = x${i} * scale + offset;`)}
      }
      sink[id.x % arrayLength(&sink)] = vec4<f32>(${Array.from({ length: CHAINS }, (_, i) => `x${i}`).join(" + ")});
    }`,
  );
  const { STORAGE, COPY_DST } = GPUBufferUsage;
  const seed = device.createBuffer({ size: 32, usage: STORAGE | COPY_DST }),
    sink = device.createBuffer({ size: THREADS * 16, usage: STORAGE });
  device.queue.writeBuffer(seed, 0, new Float32Array(8).fill(0.5)); // every chain stays near 1
  const group = bind(device, pipeline, [seed, sink]);
  const us = await chained(
    timer,
    (pass, launches) => {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let i = 0; i < launches; i++) pass.dispatchWorkgroups(GROUPS);
    },
    { repeats },
  );
  for (const buffer of [seed, sink]) buffer.destroy();
  return (GROUPS * THREADS * ITERATIONS * CHAINS * 4 * 2) / (us * 1e-6);
}

const compile = (device: GPUDevice, code: string): Promise<GPUComputePipeline> =>
  device.createComputePipelineAsync({
    layout: "auto",
    compute: { module: device.createShaderModule({ code }), entryPoint: "main" },
  });

const bind = (device: GPUDevice, pipeline: GPUComputePipeline, buffers: readonly GPUBuffer[]): GPUBindGroup =>
  device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
