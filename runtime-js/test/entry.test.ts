import { describe, expect, it } from "vitest";
import { Memory } from "../src/device/index.js";
import { BundleError } from "../src/errors.js";
import { Entry, Host, type Plan, splitKernels } from "../src/plan/index.js";
import { launchWasm } from "./wasm.js";

Object.assign(globalThis, { GPUBufferUsage: { UNIFORM: 64, COPY_DST: 8 } });

const WORDS = ["n", 1, 1, 10, 11, 0, 1, 1, 20, 21, 3, 2, 1, 30, 31] as const;
const plan = {
  buffers: [{ name: "x", kind: "scratch", bytes: 16 }],
  kernels: [
    { name: "k0", bindings: ["storage", "uniform"], uniformWords: 2 },
    { name: "k1", bindings: ["storage", "uniform"], uniformWords: 1 },
  ],
} as unknown as Plan;
const entry = {
  name: "prefill" as const,
  dims: ["n"],
  launch: "p",
  recordWords: 5,
  launches: [
    { kernel: 0, op: "x", args: [0] },
    { kernel: 1, op: "x", args: [0] },
    { kernel: 0, op: "x", args: [0] },
  ],
};

async function make(words: readonly (number | "n")[] = WORDS) {
  const writes: Uint32Array[] = [];
  const groups: GPUBindGroupDescriptor[] = [];
  const device = {
    limits: { minUniformBufferOffsetAlignment: 256, maxComputeWorkgroupsPerDimension: 65535 },
    queue: { writeBuffer: (_: unknown, __: number, data: Uint32Array) => writes.push(data.slice()) },
    createBindGroup: (d: GPUBindGroupDescriptor) => groups.push(d),
  };
  const memory = new Memory({ createBuffer: (d: { size: number }) => ({ ...d, destroy() {} }) } as never);
  const pipelines = { get: (k: number) => `pipeline${k}`, groupLayout: () => "layout" };
  const host = await Host.load(launchWasm(words));
  const replayed = new Entry(
    device as never,
    host,
    entry,
    plan,
    memory,
    new Map([["x", {} as GPUBuffer]]),
    pipelines as never,
  );
  const calls: string[] = [];
  const pass = {
    setPipeline: (p: string) => calls.push(p),
    setBindGroup: (_: number, g: number) => calls.push(`group${g}`),
    dispatchWorkgroups: (...grid: number[]) => calls.push(grid.join("x")),
  };
  return { entry: replayed, writes, groups, calls, pass: pass as never, memory };
}

describe("entry", () => {
  it("packs each launch's uniform words at its aligned offset", async () => {
    const { entry, writes, groups, memory } = await make();
    entry.prepare([7]);
    expect(memory.use.uniform).toBe(3 * 256);
    expect(writes).toHaveLength(1);
    expect([...writes[0]!.slice(0, 3)]).toEqual([10, 11, 0]);
    // k1 has one uniform word: the record's second is padding
    expect([...writes[0]!.slice(64, 67)]).toEqual([20, 0, 0]);
    expect([...writes[0]!.slice(128, 130)]).toEqual([30, 31]);
    const entries = groups[1]!.entries as GPUBindGroupEntry[];
    expect(entries[1]).toMatchObject({ binding: 1, resource: { offset: 256, size: 16 } });
  });
  it("rewrites only when the dims change", async () => {
    const { entry, writes } = await make();
    for (const n of [7, 7, 8, 8, 7]) entry.prepare([n]);
    expect(writes).toHaveLength(3);
  });
  it("skips empty grids and needless pipeline changes", async () => {
    const { entry, calls, pass } = await make();
    entry.prepare([5]);
    entry.replay(pass);
    expect(calls).toEqual(["pipeline0", "group1", "5x1x1", "group3", "3x2x1"]);
  });
  it("refuses grids past the GPU's limit", async () => {
    const { entry } = await make();
    expect(() => entry.prepare([65536])).toThrow(BundleError);
  });
});

describe("host", () => {
  it("grows the memory when a table lies past its end", async () => {
    const host = await Host.load(launchWasm(["n", 2], 65528));
    expect([...host.launchTable("p", [9], 2)]).toEqual([9, 2]);
  });
  it("refuses wasm that is damaged, imports, or lacks exports", async () => {
    await expect(Host.load(new Uint8Array([1, 2, 3]))).rejects.toThrow(BundleError);
    await expect(Host.load(Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]))).rejects.toThrow(
      /memory and __heap_base/,
    );
    const imports = Uint8Array.from([
      0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 2, 7, 1, 1, 0x61, 1, 0x62, 0, 0,
    ]);
    await expect(Host.load(imports)).rejects.toThrow(/imports a.b/);
    const host = await Host.load(launchWasm([1]));
    expect(() => host.requireFunction("q")).toThrow(/does not export/);
  });
});

describe("kernels file", () => {
  it("is cut at its marks", () => {
    const kernels = splitKernels("//// kernel a\nfn a() {}\n//// kernel b\nfn b() {}\n// not //// kernel c\n");
    expect([...kernels.keys()]).toEqual(["a", "b"]);
    expect(kernels.get("a")).toBe("fn a() {}");
    expect(() => splitKernels("//// kernel a\n//// kernel a\n")).toThrow(BundleError);
  });
});
