import { describe, expect, it } from "vitest";
import { CachedTokens, type Constraint, type GenerateParams, generateTokens, type Model } from "../src/decode/index.js";
import { CancelledError, DeviceLostError, GpuError } from "../src/errors.js";
import { argmax, FakeModel, HOST_OFF, params, sum } from "./fake_model.js";

const PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5];
const COUNT = 14;

/** A model whose tokens depend on how many were sampled before, as those of a seed do. */
class Seeded extends FakeModel {
  private count = 0;
  /** What penalties were told that the answer has. */
  told: (readonly number[])[] = [];
  constructor() {
    super((history) => (sum(history) + 7 * this.count++) % 89);
    this.penalizes = true;
  }
  override async setSampling(sampling: never, taken: readonly number[] = []): Promise<void> {
    this.told.push([...taken]);
    await super.setSampling(sampling);
  }
  override prefillAndSample(tokens: readonly number[], position: number, sampled = 0): Promise<number> {
    this.count = sampled;
    return super.prefillAndSample(tokens, position);
  }
  override feed(tokens: readonly number[], position: number, sampled = 0): void {
    this.count = sampled;
    super.feed(tokens, position);
  }
  // the host has the numbers of what it samples
  override prefillAndRead(tokens: readonly number[], position: number): Promise<Float32Array> {
    this.count = 0;
    return super.prefillAndRead(tokens, position);
  }
  override decodeAndRead(token: number, position: number): Promise<Float32Array> {
    this.count = 0;
    return super.decodeAndRead(token, position);
  }
}

/** The model, which is lost at its `at`-th call: that one and all later ones fail, and so does what is in flight. */
function losing(model: FakeModel, at: number): { model: Model; calls: () => number } {
  let calls = 0;
  let lose = (): void => {};
  const lost = new Promise<never>((_, reject) => {
    lose = () => reject(new DeviceLostError("reset"));
  });
  lost.catch(() => {});
  const atOnce = new Set(["feed", "decode", "steps", "sample"]);
  const proxy = new Proxy(model, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        if (++calls >= at) {
          lose();
          if (atOnce.has(name as string)) throw new DeviceLostError("reset");
          return Promise.reject(new DeviceLostError("reset"));
        }
        const result = Reflect.apply(value, target, args) as unknown;
        if (!(result instanceof Promise)) return result;
        const raced = Promise.race([result, lost]);
        raced.catch(() => {});
        return raced;
      };
    },
  });
  return { model: proxy, calls: () => calls };
}

async function run(model: Model, p: GenerateParams, kv = new CachedTokens()): Promise<number[]> {
  const tokens: number[] = [];
  for await (const { token } of generateTokens(model, kv, argmax, PROMPT, p)) tokens.push(token);
  return tokens;
}

/** Lets multiples of three come, then any token, then three that are forced, and counts what it took. */
class Rhythm implements Constraint {
  at = 0;
  mask(): Int32Array<ArrayBuffer> {
    const words = new Int32Array(4);
    for (let token = 0; token < 89; token++)
      if (this.at % 6 !== 0 || token % 3 === 0) words[token >> 5]! |= 1 << (token & 31);
    return words;
  }
  accept(): void {
    this.at++;
  }
  force(): readonly number[] {
    if (this.at % 6 !== 3) return [];
    this.at += 3;
    return [40, 41, 42];
  }
}

const PENALTIES = { ...HOST_OFF, frequencyPenalty: 0.5 };
const KINDS: Record<string, () => Partial<GenerateParams>> = {
  "sampled on the GPU": () => ({}),
  "with penalties": () => ({ host: PENALTIES }),
  "sampled by the host": () => ({ host: { ...HOST_OFF, topLogprobs: 0 } }),
  "under a constraint": () => ({ constraint: new Rhythm() }),
  "under a constraint, with penalties": () => ({ constraint: new Rhythm(), host: PENALTIES }),
};

describe.each(Object.keys(KINDS))("an answer %s", (kind) => {
  const asked = (more: Partial<GenerateParams> = {}) => params({ maxTokens: COUNT, ...KINDS[kind]!(), ...more });

  it("goes on as if nothing had been, wherever its device is lost", async () => {
    const whole = losing(new Seeded(), Infinity);
    const expected = await run(whole.model, asked());
    expect(expected.length).toBe(COUNT);
    for (let at = 1; at <= whole.calls(); at++) {
      const next = new Seeded();
      const kv = new CachedTokens();
      let recovered = 0;
      const recover = async () => {
        recovered++;
        return { model: next, prompt: PROMPT };
      };
      const tokens = await run(losing(new Seeded(), at).model, asked({ recover }), kv);
      expect([at, tokens, recovered]).toEqual([at, expected, 1]);
      // what the cache holds is what that model was fed, and all but the last token of what was said
      const said = [...PROMPT, ...expected];
      expect(kv.held).toEqual(next.kv.slice(0, kv.length));
      expect(kv.held).toEqual(said.slice(0, kv.length));
      for (const told of next.told) expect(told).toEqual(expected.slice(0, told.length));
    }
  });

  it("goes on when it is lost twice, and again while it is read again", async () => {
    const expected = await run(new Seeded(), asked());
    for (const [first, second] of [
      [5, 1],
      [5, 4],
      [7, 9],
      [1, 1],
    ] as const) {
      const models = [losing(new Seeded(), second).model, new Seeded()];
      const recover = async () => ({ model: models.shift()!, prompt: PROMPT });
      expect(await run(losing(new Seeded(), first).model, asked({ recover }))).toEqual(expected);
      expect(models).toEqual([]);
    }
  });

  it("fails with the loss where nothing can be loaded, and forgets the cache", async () => {
    const kv = new CachedTokens();
    const lost = new DeviceLostError("three times");
    const recover = () => Promise.reject(lost);
    await expect(run(losing(new Seeded(), 6).model, asked({ recover }), kv)).rejects.toBe(lost);
    expect(kv.length).toBe(0);
  });

  it("ends when it is cancelled while the model is loaded again", async () => {
    const controller = new AbortController();
    const recover = () => {
      setTimeout(() => controller.abort(), 5);
      return new Promise<never>(() => {});
    };
    const { signal } = controller;
    await expect(run(losing(new Seeded(), 6).model, asked({ recover, signal }))).rejects.toThrow(CancelledError);
  });

  it("ends without an error when it is interrupted meanwhile", async () => {
    let interrupted = false;
    const recover = async () => {
      interrupted = true;
      return { model: new Seeded(), prompt: PROMPT };
    };
    const answer = generateTokens(losing(new Seeded(), 6).model, new CachedTokens(), argmax, PROMPT, {
      ...asked({ recover }),
      interrupted: () => interrupted,
    });
    for (;;) {
      const { done, value } = await answer.next();
      if (done) return expect(value).toEqual({ reason: "abort" });
    }
  });
});

it("the prompt may have other tokens for the same pictures on the other model", async () => {
  const next = new Seeded();
  const other = PROMPT.map((token) => token + 1);
  const recover = async () => ({ model: next, prompt: other });
  await run(losing(new Seeded(), 5).model, params({ maxTokens: 4, recover }));
  expect(next.kv.slice(0, other.length)).toEqual(other);
});

it("a cache of another model holds nothing, and the conversation can be read again", async () => {
  const kv = new CachedTokens();
  const [one, two] = [new Seeded(), new Seeded()];
  await run(one, params({ maxTokens: 4 }), kv);
  const held = [...kv.held];
  expect([kv.lengthIn(one), kv.lengthIn(two)]).toEqual([held.length, 0]);
  let cached = -1;
  const again = generateTokens(two, kv, argmax, [...held, 7], params({ maxTokens: 1, onCached: (n) => (cached = n) }));
  await again.next();
  expect(cached).toBe(0);
  expect(two.kv.slice(0, held.length + 1)).toEqual([...held, 7]);
});

it("what is no loss is thrown", async () => {
  const wrong = new GpuError("wrong");
  const model = new Seeded();
  model.steps = () => Promise.reject(wrong);
  const recover = (error: unknown) => Promise.reject(error);
  await expect(run(model, params({ recover }))).rejects.toBe(wrong);
});
