// Makes a plan with three prefills, and a device that compiles and times their kernels as it is told.
import { vi } from "vitest";
import type { Manifest, Tier } from "../src/bundle/index.js";
import type { Guard } from "../src/device/index.js";
import { compileFirst, type PrefillChoice, requestPipelines } from "../src/engine/activations.js";
import { type Host, Pipelines, type Plan } from "../src/plan/index.js";
import { type Behaviour, SimulatedGpu } from "./simulated.js";

Object.assign(globalThis, {
  GPUShaderStage: { COMPUTE: 4 },
  GPUBufferUsage: { STORAGE: 128, UNIFORM: 64, COPY_DST: 8 },
});

export const names = [
  "embed",
  "up",
  "up_int8",
  "attend",
  "round",
  "matvec",
  "mask",
  "pick",
  "halve",
  "up_matrix",
  "down_matrix",
];
const buffers = [
  { name: "x", kind: "scratch", bytes: 9e9 },
  { name: "w.small", kind: "weight", bytes: 10 },
  { name: "w", kind: "weight", bytes: 1000 },
];
const entry = (name: string, launches: readonly (readonly [string, number])[]) => ({
  name,
  dims: [],
  launch: name,
  recordWords: 4,
  launches: launches.map(([kernel, arg]) => ({ kernel: names.indexOf(kernel), op: kernel, args: [arg] })),
});
export const plan = {
  tier: "base",
  buffers,
  kernels: names.map((name) => ({ name, bindings: ["storage", "uniform"], uniformWords: 1 })),
  entries: {
    prefill: entry("prefill", [
      ["embed", 1],
      ["up", 2],
      ["attend", 0],
    ]),
    prefill_int8: entry("prefill_int8", [
      ["embed", 1],
      ["round", 0],
      ["up_int8", 2],
      ["attend", 0],
    ]),
    prefill_matrix: {
      ...entry("prefill_matrix", [
        ["embed", 1],
        ["halve", 0],
        ["up_matrix", 2],
        ["down_matrix", 1],
        ["attend", 0],
      ]),
      needs: {
        features: ["matrices"],
        limits: new Map([["maxComputeWorkgroupStorageSize", 20480]]),
        subgroupSize: 32,
        subgroupMatrix: { component: "f16", result: "f32", m: 16, n: 16, k: 16 },
      },
    },
    decode: entry("decode", [["matvec", 2]]),
    mask: entry("mask", [["mask", 0]]),
    sample: entry("sample", [["pick", 0]]),
  },
} as unknown as Plan;
export const wgsl = new Map(names.map((name, i) => [name, "x".repeat(name.startsWith("up") ? 1 : 10 + i)]));

export function parts(cached?: string, matrix = false) {
  const keeping: string[] = [],
    asked: string[] = [];
  return {
    keeping,
    asked,
    matrix,
    source: {
      choice: async (name: string) => {
        asked.push(name);
        return cached;
      },
      keepChoice: async (_: string, value: string) => {
        keeping.push(value);
      },
    },
    manifest: { name: "m", model: { prefill_chunk: 8 } } as unknown as Manifest,
    plan,
    adapter: { info: { vendor: "v", architecture: "a", device: "", description: "" } as GPUAdapterInfo },
    tier: { name: "base", kernels: "k.wgsl" } as Tier,
    isWrong: (_: string): boolean => false,
  };
}

/** A device that makes pipelines when told to, but those of the kernels that it refuses. */
export function recording(refused: readonly string[] = [], made = false) {
  const asked: string[] = [],
    finish: (() => void)[] = [];
  const device = {
    createBindGroupLayout: () => ({}),
    createPipelineLayout: () => ({}),
    createShaderModule: () => ({
      getCompilationInfo: async () => ({ messages: [{ type: "error", lineNum: 3, message: "unknown builtin" }] }),
    }),
    pushErrorScope() {},
    popErrorScope: async () => null,
    createComputePipelineAsync: ({ label }: { label: string }) =>
      new Promise((done, fail) => {
        asked.push(label);
        const end = (): void => (refused.includes(label) ? fail(new Error("invalid")) : done(label));
        if (made) end();
        else finish.push(end);
      }),
  };
  return { pipelines: new Pipelines(device as never, plan, wgsl), asked, finish };
}

/** A device on which a launch of a kernel takes as many milliseconds as said, in a browser that behaves as said. */
export function timing(times: Readonly<Record<string, number>>, behaviour: Behaviour = {}) {
  const gpu = new SimulatedGpu(behaviour);
  vi.stubGlobal("performance", { now: () => gpu.clock() });
  const encoder = () => {
    let kernel = "",
      launches = 0;
    const pass = {
      setPipeline: (made: string) => {
        kernel = made;
      },
      setBindGroup() {},
      dispatchWorkgroups: () => {
        launches++;
      },
      end() {},
    };
    return { beginComputePass: () => pass, finish: () => () => gpu.spend(launches * times[kernel]!, false) };
  };
  return {
    createBuffer: () => ({ destroy() {} }),
    createBindGroup: () => ({}),
    createCommandEncoder: encoder,
    queue: { writeBuffer() {}, submit: ([run]: (() => void)[]) => run!(), onSubmittedWorkDone: async () => {} },
  } as unknown as GPUDevice;
}
export const guard = { race: <T>(promise: Promise<T>) => promise } as unknown as Guard;
export const host = {
  launchTable: (_: string, __: unknown, words: number) => new Uint32Array(words),
} as unknown as Host;

/** What a load ends with, when the timed launches take as long as said. */
export async function settled(
  choice: PrefillChoice,
  times: Readonly<Record<string, number>>,
  refused: readonly string[] = [],
  behaviour?: Behaviour,
) {
  const warnings: string[] = [];
  const { pipelines, asked } = recording(refused, true);
  const onWarning = ({ code, message }: { code: string; message: string }): void => {
    warnings.push(`${code}: ${message}`);
  };
  const { candidates } = requestPipelines(pipelines, choice, () => {}, onWarning);
  const usable = await candidates;
  const ranked = await choice.rank(usable, { device: timing(times, behaviour), guard, host, pipelines });
  const used = await compileFirst(ranked, choice, pipelines, () => {}, onWarning);
  return { used: used.activations, warnings, asked, candidates: usable.map((p) => p.activations) };
}
