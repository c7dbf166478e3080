import { describe, expect, it } from "vitest";
import {
  CachedTokens,
  type Constraint,
  type GenerateEnd,
  type GenerateParams,
  generateTokens,
} from "../src/decode/index.js";
import { CancelledError, DeviceLostError } from "../src/errors.js";
import { argmax, END, FakeModel, params as greedy, HOST_OFF, sum } from "./fake_model.js";

const ONLY_END = [END];
/** One for each list: where places have the same, their masks are the same. */
const MASKS = new Map<readonly number[], Int32Array<ArrayBuffer>>();

/** Allows at each place the tokens of a list; one alone is forced, and after the last place the end is. */
class Places implements Constraint {
  at = 0;
  masks = 0;
  constructor(private readonly places: readonly (readonly number[])[]) {}
  mask(): Int32Array<ArrayBuffer> {
    this.masks++;
    const allowed = this.places[this.at] ?? ONLY_END;
    const words = MASKS.get(allowed) ?? new Int32Array(4);
    for (const token of allowed) words[token >> 5]! |= 1 << (token & 31);
    MASKS.set(allowed, words);
    return words;
  }
  accept(token: number): void {
    if (!(this.places[this.at++] ?? [END]).includes(token)) throw new Error(`${token} is not allowed`);
  }
  force(): number[] {
    const forced: number[] = [];
    while (this.at <= this.places.length) {
      const allowed = this.places[this.at] ?? [END];
      if (allowed.length > 1) break;
      forced.push(allowed[0]!);
      this.at++;
    }
    return forced;
  }
}
const ANY = Array.from({ length: 89 }, (_, i) => i);

const params = (constraint: Constraint, more: Partial<GenerateParams> = {}): GenerateParams =>
  greedy({ constraint, ...more });

async function run(
  model: FakeModel,
  kv: CachedTokens,
  prompt: number[],
  p: GenerateParams,
): Promise<{ tokens: number[]; end: GenerateEnd["reason"] }> {
  const tokens: number[] = [];
  const generation = generateTokens(model, kv, argmax, prompt, p);
  for (;;) {
    const next = await generation.next();
    if (next.done) return { tokens, end: next.value.reason };
    tokens.push(next.value.token);
  }
}

/** What the rule gives, where it is free. */
function expected(places: readonly (readonly number[])[], prompt: number[], count = places.length): number[] {
  const history = [...prompt];
  for (const allowed of places.slice(0, count)) {
    let token = sum(history);
    while (!allowed.includes(token)) token = (token + 1) % 100;
    history.push(token);
  }
  return history.slice(prompt.length);
}

describe("decode under a constraint", () => {
  const places = [[7], [1, 2, 3], ANY, [4], [5], [6], [8], [9], [10, 11], [50, 51], [12]];

  it("takes only what the constraint allows, and ends when it is complete", async () => {
    const model = new FakeModel(sum),
      constraint = new Places(places);
    const { tokens, end } = await run(model, new CachedTokens(), [3, 1, 4], params(constraint));
    expect(tokens).toEqual(expected(places, [3, 1, 4]));
    expect(end).toBe("stop");
  });

  it("feeds forced tokens together", async () => {
    const model = new FakeModel(sum);
    await run(model, new CachedTokens(), [3, 1, 4], params(new Places(places)));
    // by the size of what is fed at once: the prompt, and after each choice what follows it, in chunks of four
    const { fedAt } = model;
    expect(fedAt.filter(({ ahead }) => !ahead).map(({ size }) => size)).toEqual([3, 1, 4, 1]);
  });

  it("tells how often the answer has each token, forced ones too, where there are penalties", async () => {
    for (const repetitionPenalty of [1, 1.2]) {
      const model = new FakeModel(sum);
      model.penalizes = true;
      const host = { ...HOST_OFF, repetitionPenalty };
      const few = [[7], [7], [1, 2], [7], [8, 9]];
      const { tokens } = await run(model, new CachedTokens(), [3, 1, 4], params(new Places(few), { host, depth: 1 }));
      expect(tokens).toHaveLength(5);
      const counted = model.counted.map((counts) => counts && [7, tokens[2]!].map((token) => counts[token]));
      expect(counted).toEqual(
        repetitionPenalty === 1
          ? [undefined, undefined]
          : [
              [2, 0],
              [3, 1],
            ],
      );
    }
  });

  it("hands out a forced token when the prompt has been read", async () => {
    const model = new FakeModel(sum);
    model.delay = 30;
    const began = performance.now();
    const tokens = generateTokens(model, new CachedTokens(), argmax, [3, 1, 4], params(new Places([[7], [8], ANY])));
    expect((await tokens.next()).value).toEqual({ token: 7 });
    expect(performance.now() - began).toBeGreaterThan(25);
    await tokens.return({ reason: "stop" });
  });

  it("runs ahead from a mask's first token on once it has learned that the mask stays", async () => {
    const any = [...ANY]; // a list of its own has a mask of its own, of which nothing is known
    const strings = [[7], ...Array(6).fill(any), [1, 2], [7], ...Array(6).fill(any), [3]] as number[][];
    const submissions = [];
    for (let time = 0; time < 2; time++) {
      const model = new FakeModel(sum);
      const { tokens } = await run(model, new CachedTokens(), [3, 1, 4], params(new Places(strings)));
      expect(tokens).toEqual(expected(strings, [3, 1, 4]));
      submissions.push(model.samples);
    }
    expect(submissions[1]).toBeLessThan(submissions[0]!);
  });

  it("runs ahead while the mask stays as it is, and gives the same tokens", async () => {
    const strings = [[7], ...Array(8).fill(ANY), [1, 2], ...Array(6).fill(ANY), [3]] as number[][];
    const answers = [];
    for (const depth of [1, 2, 4, 16]) {
      const model = new FakeModel(sum);
      const { tokens, end } = await run(model, new CachedTokens(), [3, 1, 4], params(new Places(strings), { depth }));
      expect(end).toBe("stop");
      expect(model.ahead > 0).toBe(depth > 1);
      answers.push(tokens);
    }
    expect(answers).toEqual(Array(4).fill(expected(strings, [3, 1, 4])));
  });

  it("gives the same tokens where steps are too slow to run ahead, and runs none in vain", async () => {
    const model = new FakeModel(sum);
    model.delay = 45;
    const { tokens } = await run(model, new CachedTokens(), [3, 1, 4], params(new Places(places)));
    expect(tokens).toEqual(expected(places, [3, 1, 4]));
    expect(model.ahead).toBeLessThanOrEqual(4); // before the first step was timed
  });

  it.each([1, 2, 4, 5, 6, 10])("stops after %i tokens, and the KV cache holds them", async (maxTokens) => {
    const model = new FakeModel(sum),
      kv = new CachedTokens();
    const first = await run(model, kv, [3, 1, 4], params(new Places(places), { maxTokens }));
    expect(first).toEqual({ tokens: expected(places, [3, 1, 4], maxTokens), end: "length" });
    const prompt = [3, 1, 4, ...first.tokens, 42];
    const again = await run(model, kv, prompt, params(new Places([ANY, ANY]), { maxTokens: 2 }));
    expect(again.tokens).toEqual(expected([ANY, ANY], prompt));
  });

  it("makes room as the answer grows, and fills the context exactly", async () => {
    const model = new FakeModel(sum),
      endless = Array.from({ length: 40 }, (_, i) => (i % 5 ? ANY : [i]));
    model.kvTokens = 4;
    const { tokens, end } = await run(model, new CachedTokens(), [3, 1, 4], params(new Places(endless)));
    expect(tokens).toEqual(expected(endless, [3, 1, 4], 29));
    expect(end).toBe("length");
  });

  it.each([1, 2, 3, 4, 6, 8])("aborted at token %i, the next request is not disturbed", async (count) => {
    const model = new FakeModel(sum),
      kv = new CachedTokens(),
      controller = new AbortController(),
      tokens: number[] = [];
    const generation = generateTokens(
      model,
      kv,
      argmax,
      [3, 1, 4],
      params(new Places(places), { signal: controller.signal }),
    );
    const all = (async () => {
      for await (const { token } of generation)
        if (tokens.push(token) === count) setTimeout(() => controller.abort(), 0);
    })();
    await expect(all).rejects.toThrow(CancelledError);
    const prompt = [3, 1, 4, ...tokens, 42];
    const again = await run(model, kv, prompt, params(new Places([ANY, ANY, ANY]), { maxTokens: 3 }));
    expect(again.tokens).toEqual(expected([ANY, ANY, ANY], prompt));
  });

  it("a lost device rejects, and the cache is forgotten", async () => {
    const model = new FakeModel(sum),
      kv = new CachedTokens();
    model.failAt = 2;
    const answer = run(model, kv, [3, 1, 4], params(new Places([ANY, ANY, ANY, ANY, ANY])));
    await expect(answer).rejects.toThrow(DeviceLostError);
    expect(kv.length).toBe(0);
  });

  it("samples on the host under the same masks when a request needs the logits", async () => {
    const model = new FakeModel(sum);
    const host = { ...HOST_OFF, topLogprobs: 1 };
    const { tokens, end } = await run(model, new CachedTokens(), [3, 1, 4], params(new Places(places), { host }));
    expect(tokens.every((token, i) => places[i]!.includes(token))).toBe(true);
    expect([tokens.length, end]).toEqual([places.length, "stop"]);
  });
});
