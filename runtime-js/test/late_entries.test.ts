import { describe, expect, it } from "vitest";
import type { GpuModelParts } from "../src/decode/gpu_model.js";
import { GpuModel } from "../src/decode/index.js";

/** An entry that notes which KV buffers it binds. */
function entry(all: ReadonlyMap<string, unknown>) {
  const made = {
    kv: all.get("kv.0"),
    prepare: () => {},
    rebindKv: (now: typeof all) => {
      made.kv = now.get("kv.0");
    },
  };
  return made;
}

describe("the entry for few tokens", () => {
  it("binds the KV cache as it is when it is there, though that has grown while it was made", async () => {
    const all = new Map<string, unknown>([["kv.0", "small"]]);
    const planBuffers = {
      pages: 1,
      all,
      grow: async (_: unknown, pages: number) => {
        all.set("kv.0", "large");
        planBuffers.pages = pages;
      },
    };
    let finish = (): void => {};
    const few = entry(all);
    const made = new Promise((resolve) => {
      finish = () => resolve(few);
    });
    const entries = { prefill: entry(all), decode: entry(all), mask: entry(all), sample: entry(all) };
    const model = new GpuModel({
      device: { queue: { writeBuffer: () => {} } },
      guard: { race: (promise: Promise<unknown>) => promise },
      planBuffers,
      buffers: new Map([["page_table", { size: 64 }]]),
      entries,
      late: { prefill_few: () => made },
      contextLength: 256,
      pageSize: 16,
    } as unknown as GpuModelParts);
    const prepared = model.prepareFew();
    await model.reserve(100);
    finish();
    await prepared;
    expect([entries.prefill.kv, entries.decode.kv, few.kv]).toEqual(["large", "large", "large"]);
  });
});
