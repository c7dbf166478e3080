import { afterEach, describe, expect, it, vi } from "vitest";
import { State } from "../src/contract/index.js";
import type { GpuModelParts } from "../src/decode/gpu_model.js";
import { GpuModel } from "../src/decode/index.js";

afterEach(() => vi.unstubAllGlobals());

/** A model on a device that notes what is submitted: the entries of each submission, and the state before it. */
function modelThatNotes() {
  vi.stubGlobal("GPUBufferUsage", {});
  vi.stubGlobal("GPUMapMode", {});
  const submitted: { entries: string[]; position: number; token: number }[] = [];
  let state = new Int32Array(State.words),
    passed: string[] = [];
  const entry = (name: string) => ({ prepare: () => {}, replay: () => passed.push(name) });
  const staging = { mapAsync: async () => {}, getMappedRange: () => new ArrayBuffer(State.bytes), unmap: () => {} };
  const stateBuffer = { name: "state" };
  const model = new GpuModel({
    device: {
      createCommandEncoder: () => ({
        beginComputePass: () => ({ end: () => {} }),
        copyBufferToBuffer: () => {},
        finish: () => {},
      }),
      queue: {
        writeBuffer: (buffer: unknown, _: number, words: Int32Array<ArrayBuffer>) => {
          if (buffer === stateBuffer) state = words;
        },
        submit: () => {
          submitted.push({ entries: passed, position: state[State.position]!, token: state[State.token]! });
          passed = [];
        },
      },
    },
    guard: { race: (promise: Promise<unknown>) => promise, check: () => {} },
    memory: { create: () => staging },
    planBuffers: { pages: 16 },
    buffers: new Map<string, unknown>([
      ["page_table", { size: 64 }],
      ["tokens", {}],
      ["state", stateBuffer],
    ]),
    entries: Object.fromEntries(["prefill", "decode", "mask", "sample"].map((name) => [name, entry(name)])),
    images: { give: () => {} },
    late: {},
    log: { say: () => {} },
    contextLength: 256,
    pageSize: 16,
    stepTokens: 2,
  } as unknown as GpuModelParts);
  return { model, submitted };
}

describe("the first token of an answer", () => {
  it("comes from steps where few tokens of the prompt are left, as after one that was read before", async () => {
    const { model, submitted } = modelThatNotes();
    await model.prefillAndSample([5], 7);
    await model.prefillAndSample([6, 8], 20);
    expect(submitted).toEqual([
      { entries: ["decode", "sample"], position: 7, token: 5 },
      { entries: ["decode"], position: 20, token: 6 },
      { entries: ["decode", "sample"], position: 21, token: 8 },
    ]);
  });

  it("comes from a prefill of more tokens, and of a picture's", async () => {
    const { model, submitted } = modelThatNotes();
    await model.prefillAndSample([1, 2, 3], 0);
    await model.prefillAndSample([-1], 3);
    expect(submitted.map(({ entries }) => entries)).toEqual([
      ["prefill", "sample"],
      ["prefill", "sample"],
    ]);
  });
});
