import { describe, expect, it } from "vitest";
import { KvGrowth } from "../src/decode/kv_growth.js";
import { Memory } from "../src/device/index.js";
import { GpuError, OutOfMemoryError } from "../src/errors.js";
import { type Plan, PlanBuffers } from "../src/plan/index.js";

Object.assign(globalThis, { GPUBufferUsage: { STORAGE: 128, UNIFORM: 64, COPY_DST: 8, COPY_SRC: 4 } });

/** Room for `fits` pages. */
function room(pages: number, fits = Infinity) {
  const asked: number[] = [];
  return {
    pages,
    asked,
    async grow(to: number) {
      asked.push(to);
      if (to > fits) throw new OutOfMemoryError("no");
      this.pages = to;
    },
  };
}

describe("KV growth", () => {
  it("doubles, goes further when more is needed, and ends at the context", async () => {
    const kv = room(4),
      growth = new KvGrowth(kv, 16, 1000);
    expect(growth.tokens).toBe(64);
    for (const tokens of [64, 65, 128, 129, 700, 1000]) await growth.reserve(tokens);
    expect(kv.asked).toEqual([8, 16, 44, 63]);
    expect(growth.tokens).toBe(1000);
  });
  it("takes what is needed where twice the size does not fit", async () => {
    const kv = room(8, 9),
      growth = new KvGrowth(kv, 16, 4096);
    await growth.reserve(130);
    expect(kv.asked).toEqual([16, 9]);
    await expect(growth.reserve(145)).rejects.toThrow(/no room for a conversation of 145 tokens; 144 fit/);
    expect(growth.tokens).toBe(144);
  });
  it("passes on what is no lack of memory", async () => {
    const growth = new KvGrowth(
      {
        pages: 1,
        grow: async () => {
          throw new GpuError("x");
        },
      },
      16,
      4096,
    );
    await expect(growth.reserve(17)).rejects.toThrow(GpuError);
  });
});

const plan = {
  buffers: [
    { name: "w", kind: "weight", bytes: 64 },
    { name: "kv.0", kind: "kv", pageBytes: 32, pages: 100 },
    { name: "kv.1", kind: "kv", pageBytes: 48, pages: 100 },
  ],
} as unknown as Plan;

function gpu() {
  const log: string[] = [],
    scopes: string[] = [];
  let full = false;
  const device = {
    pushErrorScope: (s: string) => scopes.push(s),
    popErrorScope: async () => (scopes.pop() === "out-of-memory" && full ? { message: "full" } : null),
    createBuffer: ({ label, size }: { label: string; size: number }) => ({
      label,
      size,
      destroy: () => log.push(`destroy ${label} ${size}`),
    }),
    createCommandEncoder: () => ({
      copyBufferToBuffer: (a: { label: string; size: number }, _: number, b: { size: number }, __: number, n: number) =>
        log.push(`copy ${a.label} ${n} of ${a.size} to ${b.size}`),
      finish: () => "commands",
    }),
    queue: { submit: () => log.push("submit") },
  };
  return {
    device: device as never,
    log,
    fill: () => {
      full = true;
    },
  };
}

describe("KV buffers", () => {
  it("are copied before the old ones go, and counted", async () => {
    const { device, log } = gpu();
    const memory = new Memory(device),
      buffers = await PlanBuffers.allocate(plan, memory, 2);
    expect(memory.use).toMatchObject({ kv: 160, total: 224 });
    const weights = buffers.all.get("w");
    await buffers.grow(device, 4);
    expect(log).toEqual([
      "copy kv.0 64 of 64 to 128",
      "copy kv.1 96 of 96 to 192",
      "submit",
      "destroy kv.0 64",
      "destroy kv.1 96",
    ]);
    expect(memory.use).toMatchObject({ kv: 320, total: 384 });
    expect([buffers.pages, buffers.all.get("kv.1")!.size, buffers.all.get("w")]).toEqual([4, 192, weights]);
  });
  it("stay as they were when the GPU has no room", async () => {
    const { device, log, fill } = gpu();
    const memory = new Memory(device),
      buffers = await PlanBuffers.allocate(plan, memory, 2);
    fill();
    await expect(buffers.grow(device, 4)).rejects.toThrow(OutOfMemoryError);
    expect(log).toEqual(["destroy kv.0 128", "destroy kv.1 192"]);
    expect(memory.use).toMatchObject({ kv: 160, total: 224 });
    expect([buffers.pages, buffers.all.get("kv.0")!.size]).toEqual([2, 64]);
  });
});
