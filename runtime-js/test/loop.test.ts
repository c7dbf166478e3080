import { describe, expect, it } from "vitest";
import {
  CachedTokens,
  type GenerateEnd,
  type GenerateParams,
  generateTokens,
  type Model,
} from "../src/decode/index.js";
import {
  CancelledError,
  ContextLengthError,
  DeviceLostError,
  InvalidRequestError,
  OutOfMemoryError,
} from "../src/errors.js";
import { argmax, END, FakeModel, HOST_OFF, params, sum, upTo } from "./fake_model.js";

async function run(
  model: Model,
  kv: CachedTokens,
  prompt: number[],
  p: GenerateParams,
  take = Infinity,
): Promise<{ tokens: number[]; end: GenerateEnd | undefined }> {
  const tokens: number[] = [];
  const generation = generateTokens(model, kv, argmax, prompt, p);
  for (;;) {
    const next = await generation.next();
    if (next.done) return { tokens, end: next.value };
    tokens.push(next.value.token);
    if (tokens.length >= take) {
      await generation.return(undefined as never);
      return { tokens, end: undefined };
    }
  }
}

function expected(rule: (h: number[]) => number, prompt: number[], count: number): number[] {
  const history = [...prompt];
  for (let i = 0; i < count; i++) history.push(rule(history));
  return history.slice(prompt.length);
}

describe("decode loop", () => {
  it.each([1, 2, 4, 8])("gives the model's tokens with %i steps in flight, and no more", async (depth) => {
    const model = new FakeModel(sum);
    const { tokens, end } = await run(model, new CachedTokens(), [3, 1, 4], params({ depth, maxTokens: 12 }));
    expect(tokens).toEqual(expected(sum, [3, 1, 4], 12));
    expect(end!.reason).toBe("length");
    expect(model.mostInFlight).toBeLessThanOrEqual(depth);
    expect(model.taken).toBe(11);
  });

  it("puts several fast steps in one submission, and slow ones in one each", async () => {
    const fast = new FakeModel(sum),
      slow = new FakeModel(sum);
    slow.delay = 45;
    await run(fast, new CachedTokens(), [3, 1, 4], params({ depth: 8, maxTokens: 12 }));
    expect(fast.submissions).toBeLessThan(11);
    await run(slow, new CachedTokens(), [3, 1, 4], params({ depth: 8, maxTokens: 6 }));
    expect(slow.submissions).toBe(5);
    expect(slow.mostInFlight).toBeLessThanOrEqual(2);
  });

  it("prefills in chunks and leaves the last for sampling", async () => {
    const model = new FakeModel(sum);
    const prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    expect((await run(model, new CachedTokens(), prompt, params({ maxTokens: 1 }))).tokens).toEqual(
      expected(sum, prompt, 1),
    );
    expect(model.chunks).toEqual([4, 4, 1]);
  });

  it("does not show the stop token, and rolls back what ran past it", async () => {
    const model = new FakeModel(upTo(8));
    const kv = new CachedTokens();
    const { tokens, end } = await run(model, kv, [5], params());
    expect([tokens, end!.reason]).toEqual([[6, 7, 8], "stop"]);
    expect(model.position).toBeGreaterThan(5);
    expect(kv.length).toBe(5); // 5 6 7 8 and the stop token, which was fed ahead
    let cached = -1;
    const again = await run(model, kv, [5, 6, 7, 8, END, 3], params({ onCached: (n) => (cached = n) }));
    expect(again.tokens).toEqual([4, 5, 6, 7, 8]);
    expect(cached).toBe(5);
  });

  it("an early return keeps only accepted tokens in the cache", async () => {
    const model = new FakeModel(sum);
    const kv = new CachedTokens();
    const { tokens } = await run(model, kv, [1, 2], params(), 3);
    expect(kv.length).toBe(5);
    const prompt = [1, 2, ...tokens, 50];
    expect((await run(model, kv, prompt, params({ maxTokens: 4 }))).tokens).toEqual(expected(sum, prompt, 4));
  });

  it("runs the last token again when the whole prompt is cached", async () => {
    const model = new FakeModel(sum);
    const kv = new CachedTokens();
    const first = await run(model, kv, [1, 2, 3], params({ maxTokens: 3 }));
    model.chunks = [];
    let cached = -1;
    const second = await run(model, kv, [1, 2, 3], params({ maxTokens: 3, onCached: (n) => (cached = n) }));
    expect(second.tokens).toEqual(first.tokens);
    expect([model.chunks, cached]).toEqual([[1], 2]);
  });

  it("fills the context exactly and ends with length", async () => {
    const model = new FakeModel(sum);
    model.contextLength = 10;
    const { tokens, end } = await run(model, new CachedTokens(), [1, 2, 3], params());
    expect([tokens.length, end!.reason]).toEqual([7, "length"]);
  });

  it("refuses what cannot fit or is no token", async () => {
    const model = new FakeModel(sum);
    await expect(run(model, new CachedTokens(), Array(32).fill(1), params())).rejects.toThrow(ContextLengthError);
    await expect(run(model, new CachedTokens(), [], params())).rejects.toThrow(InvalidRequestError);
    await expect(run(model, new CachedTokens(), [100], params())).rejects.toThrow(InvalidRequestError);
    expect(model.chunks).toEqual([]);
  });

  it("an abort rejects, and the cache stays right", async () => {
    const model = new FakeModel(sum);
    const kv = new CachedTokens();
    const controller = new AbortController();
    const tokens: number[] = [];
    await expect(
      (async () => {
        for await (const { token } of generateTokens(
          model,
          kv,
          argmax,
          [1, 2],
          params({ signal: controller.signal }),
        )) {
          tokens.push(token);
          if (tokens.length === 5) controller.abort();
        }
      })(),
    ).rejects.toThrow(CancelledError);
    expect(tokens).toEqual(expected(sum, [1, 2], 5));
    const prompt = [1, 2, ...tokens, 9];
    expect((await run(model, kv, prompt, params({ maxTokens: 5 }))).tokens).toEqual(expected(sum, prompt, 5));
  });

  it("an abort during prefill leaves a right cache", async () => {
    const model = new FakeModel(sum);
    const kv = new CachedTokens();
    const controller = new AbortController();
    const prompt = Array.from({ length: 20 }, (_, i) => i);
    const running = run(model, kv, prompt, params({ signal: controller.signal, maxTokens: 3 }));
    controller.abort();
    await expect(running).rejects.toThrow(CancelledError);
    expect((await run(model, kv, prompt, params({ maxTokens: 3 }))).tokens).toEqual(expected(sum, prompt, 3));
  });

  it("an interruption ends without an error", async () => {
    let stop = false,
      count = 0;
    const generation = generateTokens(
      new FakeModel(sum),
      new CachedTokens(),
      argmax,
      [1],
      params({ interrupted: () => stop }),
    );
    for (;;) {
      const next = await generation.next();
      if (next.done) {
        expect(next.value.reason).toBe("abort");
        break;
      }
      if (++count === 3) stop = true;
    }
    expect(count).toBe(3);
  });

  it("a lost device rejects, and the cache is forgotten", async () => {
    const model = new FakeModel(sum);
    model.failAt = 3;
    const kv = new CachedTokens();
    await expect(run(model, kv, [1, 2], params())).rejects.toThrow(DeviceLostError);
    expect(kv.length).toBe(0);
  });

  it.each([1, 4, 8])(
    "makes room for the prompt, and for the steps in flight before they are submitted (%i in flight)",
    async (depth) => {
      const model = new FakeModel(sum);
      model.kvTokens = 3;
      const prompt = [3, 1, 4, 1, 5, 9];
      const { tokens } = await run(model, new CachedTokens(), prompt, params({ depth }));
      expect(tokens).toEqual(expected(sum, prompt, 26));
      expect(model.reserved[0]).toBe(6);
      expect(model.kvTokens).toBe(32);
      expect(model.reserved.length).toBeLessThanOrEqual(5);
    },
  );

  it("without room for more, gives the tokens that fit, and the conversation goes on from them", async () => {
    const model = new FakeModel(sum);
    model.kvTokens = 4;
    model.fits = 8;
    const kv = new CachedTokens(),
      tokens: number[] = [];
    const failed = (async () => {
      for await (const { token } of generateTokens(model, kv, argmax, [1, 2, 3], params({ depth: 8 })))
        tokens.push(token);
    })();
    await expect(failed).rejects.toThrow(OutOfMemoryError);
    expect(tokens).toEqual(expected(sum, [1, 2, 3], tokens.length));
    expect(tokens.length).toBeGreaterThanOrEqual(3);
    expect(kv.length).toBeGreaterThanOrEqual(3 + tokens.length - 1);
    const again = [1, 2, 3, tokens[0]!, 7];
    let cached = -1;
    const next = await run(model, kv, again, params({ maxTokens: 2, onCached: (n) => (cached = n) }));
    expect([next.tokens, cached]).toEqual([expected(sum, again, 2), 4]);
    await expect(run(model, kv, Array(9).fill(1), params())).rejects.toThrow(OutOfMemoryError);
    expect((await run(model, kv, again, params({ maxTokens: 2 }))).tokens).toEqual(next.tokens);
  });

  it("makes room for tokens that the host samples", async () => {
    const model = new FakeModel(sum);
    model.kvTokens = 3;
    const host = { ...HOST_OFF, topLogprobs: 0 };
    expect((await run(model, new CachedTokens(), [1, 2], params({ host, maxTokens: 9 }))).tokens).toEqual(
      expected(sum, [1, 2], 9),
    );
  });

  it("samples on the host when a request needs the logits, with the same answer", async () => {
    const model = new FakeModel(sum);
    const kv = new CachedTokens();
    const host = { ...HOST_OFF, topLogprobs: 2 };
    const generation = generateTokens(model, kv, argmax, [1, 2], params({ host, maxTokens: 6 }));
    const tokens: number[] = [];
    for await (const { token, logprobs } of generation) {
      tokens.push(token);
      expect(logprobs!.top[0]![0]).toBe(token);
      expect(logprobs!.logprob).toBeCloseTo(5 - Math.log(Math.exp(5) + 99), 4);
    }
    expect(tokens).toEqual(expected(sum, [1, 2], 6));
    expect(model.taken).toBe(0);
    const prompt = [1, 2, ...tokens, 4];
    expect((await run(model, kv, prompt, params({ maxTokens: 4 }))).tokens).toEqual(expected(sum, prompt, 4));
  });

  it("adds biases to the logits", async () => {
    const host = { ...HOST_OFF, logitBias: new Map([[42, 10]]) };
    expect((await run(new FakeModel(sum), new CachedTokens(), [1], params({ host, maxTokens: 3 }))).tokens).toEqual([
      42, 42, 42,
    ]);
  });
});
