import { describe, expect, it } from "vitest";
import type { Manifest, Tier } from "../src/bundle/index.js";
import { openChoice, requestPipelines } from "../src/engine/activations.js";
import { Pipelines, type Plan } from "../src/plan/index.js";

Object.assign(globalThis, { GPUShaderStage: { COMPUTE: 4 } });

const names = ["embed", "up", "up_int8", "attend", "round", "matvec", "pick"];
const buffers = [{ name: "x", kind: "scratch", bytes: 9e9 }, { name: "w.small", kind: "weight", bytes: 10 }, { name: "w", kind: "weight", bytes: 1000 }];
const entry = (name: string, launches: readonly (readonly [string, number])[]) => ({
  name, dims: [], launch: name, recordWords: 4, launches: launches.map(([kernel, arg]) => ({ kernel: names.indexOf(kernel), args: [arg] })),
});
const plan = {
  tier: "base", buffers, kernels: names.map((name) => ({ name, bindings: ["storage", "uniform"], uniformWords: 1 })),
  entries: {
    prefill: entry("prefill", [["embed", 1], ["up", 2], ["attend", 0]]),
    prefill_int8: entry("prefill_int8", [["embed", 1], ["round", 0], ["up_int8", 2], ["attend", 0]]),
    decode: entry("decode", [["matvec", 2]]), sample: entry("sample", [["pick", 0]]),
  },
} as unknown as Plan;
const wgsl = new Map(names.map((name, i) => [name, "x".repeat(name.startsWith("up") ? 1 : 10 + i)]));

function parts(kept?: string) {
  return {
    source: { choice: async () => kept, keepChoice: async () => {} }, manifest: { name: "m", model: { prefill_chunk: 8 } } as unknown as Manifest,
    plan, adapter: { info: { vendor: "v", architecture: "a", device: "", description: "" } as GPUAdapterInfo }, tier: { name: "base", kernels: "k.wgsl" } as Tier,
  };
}

function recording() {
  const asked: string[] = [], finish: (() => void)[] = [];
  const device = {
    createBindGroupLayout: () => ({}), createPipelineLayout: () => ({}), createShaderModule: () => ({}),
    pushErrorScope() {}, popErrorScope: async () => null,
    createComputePipelineAsync: ({ label }: { label: string }) => new Promise((done) => { asked.push(label); finish.push(() => done(label)); }),
  };
  return { pipelines: new Pipelines(device as never), asked, finish };
}

describe("the choice of activations", () => {
  it("asks for the pipelines that it times before all others, and waits for no other", async () => {
    const choice = await openChoice(undefined, parts());
    const { pipelines, asked, finish } = recording();
    const requested = requestPipelines(pipelines, plan, wgsl, choice, () => {});
    expect(asked.slice(0, 2).sort()).toEqual(["up", "up_int8"]);
    expect(asked.slice(2).sort()).toEqual(["attend", "embed", "matvec", "pick"]);
    finish[0]!();
    finish[1]!();
    await requested.timed;
    expect(pipelines.get(names.indexOf("up"))).toBe("up");
  });

  it("makes no pipeline twice, and says of each that it is made", async () => {
    const choice = await openChoice(undefined, parts());
    const { pipelines, asked, finish } = recording();
    requestPipelines(pipelines, plan, wgsl, choice, () => {});
    let made = 0;
    const all = pipelines.create(plan, wgsl, [1, 4, 3], () => { made++; });
    expect(asked).toHaveLength(7);
    finish.forEach((done) => done());
    await all;
    expect(made).toBe(3);
  });

  it("times nothing where it was asked for or kept, and then all pipelines are certain", async () => {
    for (const choice of [await openChoice("int8", parts()), await openChoice(undefined, parts("int8"))]) {
      expect(choice.timed).toEqual([]);
      expect([...choice.certain].map((i) => names[i]).sort()).toEqual(["attend", "embed", "matvec", "pick", "round", "up_int8"]);
      expect(await choice.settle({} as never, {} as never, {} as never, {} as never)).toBe("int8");
    }
    expect((await openChoice(undefined, parts("nonsense"))).timed).toHaveLength(2);
  });
});
