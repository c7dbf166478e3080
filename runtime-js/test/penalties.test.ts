import { describe, expect, it } from "vitest";
import { CachedTokens, type GenerateParams, generateTokens } from "../src/decode/index.js";
import { argmax, FakeModel, HOST_OFF, sum } from "./fake_model.js";

async function run(model: FakeModel, host: Partial<GenerateParams["host"]>): Promise<number[]> {
  const params: GenerateParams = {
    sampling: { temperature: 0, topP: 1, topK: 0, seed: 0 },
    host: { ...HOST_OFF, ...host },
    maxTokens: 8,
    stopTokens: new Set(),
    depth: 4,
  };
  const tokens: number[] = [];
  for await (const { token } of generateTokens(model, new CachedTokens(), argmax, [3, 1], params)) tokens.push(token);
  return tokens;
}

describe("penalties", () => {
  it("are the GPU's where its sampler takes them", async () => {
    const model = new FakeModel(sum);
    model.penalizes = true;
    await run(model, { repetitionPenalty: 1.1, frequencyPenalty: 0.5, presencePenalty: -0.25 });
    expect(model.submissions).toBeGreaterThan(0);
    expect(model.lastSampling?.penalties).toEqual({ repetition: 1.1, frequency: 0.5, presence: -0.25 });
  });

  it("are none where all are off", async () => {
    const model = new FakeModel(sum);
    model.penalizes = true;
    await run(model, {});
    expect(model.lastSampling?.penalties).toBeUndefined();
  });

  it("are the CPU's where the bundle has no kernels for them, or something else needs the logits", async () => {
    for (const [penalizes, host] of [
      [false, { presencePenalty: 1 }],
      [true, { presencePenalty: 1, minP: 0.1 }],
    ] as const) {
      const model = new FakeModel(sum);
      model.penalizes = penalizes;
      await run(model, host);
      expect(model.submissions).toBe(0);
      expect(model.lastSampling).toBeUndefined();
    }
  });

  it("submit nothing when the answer was cancelled while their kernels were made", async () => {
    const model = new FakeModel(sum);
    model.penalizes = true;
    model.setSampling = () => new Promise((resolve) => setTimeout(resolve, 20));
    const controller = new AbortController();
    const kv = new CachedTokens();
    const tokens = generateTokens(model, kv, argmax, [3, 1], {
      sampling: { temperature: 0, topP: 1, topK: 0, seed: 0 },
      host: { ...HOST_OFF, presencePenalty: 1 },
      maxTokens: 8,
      stopTokens: new Set(),
      depth: 4,
      signal: controller.signal,
    });
    const first = tokens.next();
    setTimeout(() => controller.abort(), 5);
    await expect(first).rejects.toThrow("Cancelled");
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(model.chunks).toEqual([]);
    expect(kv.length).toBe(0);
  });
});
