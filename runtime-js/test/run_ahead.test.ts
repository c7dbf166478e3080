import { describe, expect, it } from "vitest";
import { CachedTokens, type Constraint, type GenerateParams, generateTokens } from "../src/decode/index.js";
import { argmax, END, FakeModel, HOST_OFF, sum } from "./fake_model.js";

/** Allows the tokens below a bound that falls with each token, or that a list gives; they end after so many. */
class Bounds implements Constraint {
  private at = 0;
  constructor(private readonly bounds: readonly number[]) {}
  mask(): Int32Array<ArrayBuffer> {
    const words = new Int32Array(4);
    const bound = this.bounds[this.at] ?? 0;
    for (let token = 0; token < bound; token++) words[token >> 5]! |= 1 << (token & 31);
    if (bound === 0) words[END >> 5]! |= 1 << (END & 31);
    return words;
  }
  accept(token: number): void {
    const bound = this.bounds[this.at++] ?? 0;
    if (bound ? token >= bound : token !== END) throw new Error(`${token} is not below ${bound}`);
  }
  force(): readonly number[] {
    return [];
  }
}

async function run(bounds: readonly number[], more: Partial<GenerateParams["sampling"]>, depth: number) {
  const model = new FakeModel(sum),
    tokens: number[] = [];
  const params: GenerateParams = {
    sampling: { temperature: 0, topP: 1, topK: 0, seed: 0, ...more },
    host: HOST_OFF,
    maxTokens: Infinity,
    stopTokens: new Set([END]),
    depth,
    constraint: new Bounds(bounds),
  };
  for await (const { token } of generateTokens(model, new CachedTokens(), argmax, [3, 1], params)) tokens.push(token);
  return { tokens, fed: model.fedAt.filter(({ ahead }) => !ahead).length };
}

describe("running ahead under a mask that changes", () => {
  const falling = Array.from({ length: 12 }, (_, i) => 98 - 3 * i);
  const rising = Array.from({ length: 12 }, (_, i) => 40 + 3 * i);
  const steps = [95, 95, 95, 95, 94, 94, 93, 93, 93, 92, 92, 92];
  it.each([
    ["that allows fewer now and then", steps, {}],
    ["that allows fewer now and then, filtered", steps, { temperature: 1, topP: 0.9 }],
    ["that allows fewer and fewer", falling, {}],
    ["that allows fewer, drawn", falling, { temperature: 1 }],
    ["that allows fewer, filtered", falling, { temperature: 1, topP: 0.9 }],
    ["that allows more and more", rising, {}],
    ["that is as it was", Array(12).fill(60), { temperature: 1, topK: 5 }],
  ] as [string, number[], object][])("%s gives the tokens that one at a time gives", async (_, bounds, sampling) => {
    const alone = await run(bounds, sampling, 1),
      ahead = await run(bounds, sampling, 8);
    expect(ahead.tokens).toEqual(alone.tokens);
    expect(alone.tokens).toHaveLength(12);
    expect(alone.fed).toBe(13);
  });

  it("keeps what ran ahead where it would have been the same, and only there", async () => {
    expect((await run(steps, {}, 8)).fed).toBeLessThan((await run(steps, { temperature: 1, topP: 0.9 }, 8)).fed);
    expect((await run(Array(12).fill(60), { temperature: 1, topK: 5 }, 8)).fed).toBe(2);
  });

  it("feeds nothing twice where each mask is another", async () => {
    for (const bounds of [falling, rising]) expect((await run(bounds, {}, 8)).fed).toBe(1);
  });
});
