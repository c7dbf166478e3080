// The state of recurrent layers: whatever was said, stopped or cut short before, an answer is that of a new model.
import { describe, expect, it, vi } from "vitest";
import { type GpuRecurrent, recurrentOnGpu } from "../src/decode/gpu_recurrent.js";
import { CachedTokens, type GenerateParams, generateTokens, type RecurrentState } from "../src/decode/index.js";
import { STEPS_APART } from "../src/decode/recurrent.js";
import type { Memory } from "../src/device/index.js";
import type { Plan } from "../src/plan/index.js";
import { argmax, FakeModel, FREE, HOST_OFF, params, sum } from "./fake_model.js";

vi.stubGlobal("GPUBufferUsage", { COPY_SRC: 4, COPY_DST: 8 });

interface FakeBuffer {
  readonly label: string;
  readonly size: number;
  seen: readonly number[];
}
const fakeBuffer = (label: string): FakeBuffer & GPUBuffer => ({ label, size: 4, seen: [] }) as never;

/** A device that copies at once, as one that runs everything in order seems to. */
function fakeDevice(copied: string[]): GPUDevice {
  const copy = (from: FakeBuffer, _: number, to: FakeBuffer): void => {
    to.seen = from.seen;
    copied.push(`${from.label} to ${to.label}`);
  };
  return {
    queue: { submit: () => {} },
    createCommandEncoder: () => ({ copyBufferToBuffer: copy, finish: () => ({}) }),
  } as never;
}

/** Its history is what its recurrent layer has seen, so a state that is off answers something else. */
class RecurrentModel extends FakeModel {
  readonly state = fakeBuffer("recurrent.0.conv");
  readonly copied: string[] = [];
  readonly device = fakeDevice(this.copied);
  refed = 0;
  recurrent!: GpuRecurrent & RecurrentState;

  static async make(rule: (history: number[]) => number): Promise<RecurrentModel> {
    const model = new RecurrentModel(rule);
    model.kvTokens = model.contextLength = 4000;
    const plan = { buffers: [{ name: model.state.label, kind: "recurrent", bytes: 4 }] } as unknown as Plan;
    const memory = {
      scoped: async <T>(make: () => T): Promise<T> => make(),
      create: (_: string, label: string) => fakeBuffer(label),
    } as unknown as Memory;
    model.recurrent = (await recurrentOnGpu(plan, new Map([[model.state.label, model.state]]), memory, model.device))!;
    return model;
  }

  protected override put(tokens: readonly number[], position: number, ahead = false): void {
    if (position > 0 && this.state.seen.length !== position)
      throw new Error(`fed at ${position}, and the state has seen ${this.state.seen.length}`);
    this.state.seen = [...(position > 0 ? this.state.seen : []), ...tokens];
    if (ahead) this.recurrent.stepped(1, this.device.createCommandEncoder());
    else this.recurrent.fed(position + tokens.length);
    this.refed += tokens.length;
    super.put(tokens, position, ahead);
  }
  protected override step(): void {
    this.state.seen = [...this.state.seen, this.token];
    super.step();
    this.recurrent.stepped(1, this.device.createCommandEncoder());
  }
  protected override history(): number[] {
    return [...this.state.seen];
  }
}

async function answer(
  model: FakeModel,
  kv: CachedTokens,
  prompt: number[],
  take: number,
  more: Partial<GenerateParams> = {},
): Promise<number[]> {
  const tokens: number[] = [];
  const generation = generateTokens(model, kv, argmax, prompt, params({ depth: 16, maxTokens: take + 20, ...more }));
  while (tokens.length < take) {
    const next = await generation.next();
    if (next.done) break;
    tokens.push(next.value.token);
  }
  await generation.return(undefined as never);
  return tokens;
}

const wanted = (prompt: number[], count: number): number[] => {
  const history = [...prompt];
  for (let i = 0; i < count; i++) history.push(sum(history));
  return history.slice(prompt.length);
};

describe("recurrent state", () => {
  it("goes back to the prompt's end for another answer, and feeds one token again", async () => {
    const model = await RecurrentModel.make(sum);
    model.delay = 0;
    const kv = new CachedTokens(),
      prompt = Array.from({ length: 90 }, (_, i) => i % 80);
    expect(await answer(model, kv, prompt, 10)).toEqual(wanted(prompt, 10));
    model.refed = 0;
    expect(await answer(model, kv, prompt, 10)).toEqual(wanted(prompt, 10));
    expect(model.refed).toBe(1);
  });

  it("feeds few tokens of a long answer again when the next message comes", async () => {
    const model = await RecurrentModel.make(sum);
    model.delay = 0;
    const kv = new CachedTokens(),
      prompt = [5, 6, 7];
    const first = await answer(model, kv, prompt, 500);
    const next = [...prompt, ...first, 1, 2, 3];
    model.refed = 0;
    expect(await answer(model, kv, next, 5)).toEqual(wanted(next, 5));
    expect(model.refed).toBeLessThanOrEqual(STEPS_APART + 16 + 4);
    expect(model.copied.length).toBeLessThan(500 / STEPS_APART + 6);
  });

  it.each(["free", "constrained", "on the host"])("is that of a new model in 25 random talks, %s", async (kind) => {
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 1103515245 + 12345) & 0x7fffffff;
      return (seed >> 8) % below;
    };
    const more: Partial<GenerateParams> =
      kind === "constrained"
        ? { constraint: FREE }
        : kind === "on the host"
          ? { host: { ...HOST_OFF, minP: 0.01 } }
          : {};
    const model = await RecurrentModel.make(sum);
    model.delay = 0;
    const kv = new CachedTokens();
    let talk: number[] = [];
    for (let turn = 0; turn < 25; turn++) {
      if (random(4) === 0) talk = talk.slice(0, random(talk.length + 1));
      if (talk.length > 1500) talk = [];
      const prompt = [...talk, ...Array.from({ length: 1 + random(40) }, () => random(80))];
      const take = random(3) === 0 ? random(200) : random(12);
      const said = await answer(model, kv, prompt, take, more);
      expect(said).toEqual(wanted(prompt, take));
      talk = [...prompt, ...said];
    }
  });

  it("is not there for a plan without recurrent layers", async () => {
    expect(await recurrentOnGpu({ buffers: [] }, new Map(), {} as never, {} as never)).toBeUndefined();
  });
});
