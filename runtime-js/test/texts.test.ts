// Tests what is around models that read whole texts: how texts are packed, several calls at a time, and checks of
// bundles; without a GPU.
import { describe, expect, it } from "vitest";
import { CpuTextCalls } from "../src/cpu/text_calls.js";
import { packCalls, type TextWords, wordsOf } from "../src/embed/calls.js";
import { checkTextManifest, checkTextPlan } from "../src/embed/check.js";
import { GpuTextCalls } from "../src/embed/gpu_calls.js";
import { TextModel } from "../src/embed/text_model.js";
import { parseTextValidation } from "../src/embed/validate.js";
import { BundleError, GpuError, UnloadedError, WorkerError } from "../src/errors.js";
import type { Typed } from "../src/text/post_processor.js";
import { EMBEDDING } from "./fake_texts.js";

const text = (...tokens: number[]): Typed => ({ tokens, types: tokens.map((_, i) => i % 2) });
const long = (size: number, first = 0): Typed => text(...Array.from({ length: size }, (_, i) => first + i));

describe("packing", () => {
  const sizes = (texts: readonly Typed[], most: number): number[][] =>
    [...packCalls(texts, most)].map((call) => call.map(({ tokens }) => tokens.length));
  it("keeps texts in order, side by side up to a call's tokens, and a longer one alone", () => {
    expect(
      sizes(
        [3, 4, 1, 9, 2, 8, 1].map((n) => long(n)),
        8,
      ),
    ).toEqual([[3, 4, 1], [9], [2], [8], [1]]);
    expect(sizes([], 8)).toEqual([]);
    expect(sizes([long(20)], 8)).toEqual([[20]]);
  });
  it("says of each token where its text begins and ends, its place and its type", () => {
    const { tokens, places, texts } = wordsOf([text(5, 6, 7), text(8)]);
    expect([...tokens]).toEqual([5, 6, 7, 8]);
    expect([...texts]).toEqual([0, 3]);
    expect([...places]).toEqual([0, 3, 0, 0, 0, 3, 1, 1, 0, 3, 2, 0, 3, 4, 0, 0]);
  });
});

describe("a model of whole texts", () => {
  /** Each text's number is its first token; read-backs take as long as `delays` says. */
  function model(delays: readonly number[] = [], broken = false) {
    const state = { flying: 0, most: 0, calls: 0 };
    const written = new Map<string, Int32Array>();
    let bytes = 0;
    const device = {
      queue: { writeBuffer: (name: string, _: number, data: Int32Array) => written.set(name, data), submit: () => {} },
      createCommandEncoder: () => ({
        beginComputePass: () => ({ end() {} }),
        copyBufferToBuffer: (...[, , , , size]: unknown[]) => {
          bytes = size as number;
        },
        finish: () => {},
      }),
    };
    const readbacks = {
      staging: (size: number) => ({ size }),
      async read(): Promise<ArrayBuffer> {
        const [tokens, texts] = ["tokens", "texts"].map((name) => written.get(name)!);
        const numbers = Float32Array.from(texts!, (first) => (broken ? Number.NaN : tokens![first]!));
        expect(bytes).toBe(numbers.byteLength);
        state.most = Math.max(state.most, ++state.flying);
        await new Promise((resolve) => setTimeout(resolve, delays[state.calls++] ?? 0));
        state.flying--;
        return numbers.buffer;
      },
    };
    const parts = {
      device,
      readbacks,
      guard: { check() {} },
      buffers: new Map(["tokens", "places", "texts", "scores"].map((name) => [name, name])),
      entry: { prepare() {}, replay() {} },
    };
    const calls = new GpuTextCalls(parts as never);
    return { model: new TextModel({ calls, output: { name: "scores", width: 1 }, callTokens: 4 }), state };
  }
  const numbers = (rows: readonly Float32Array[]): number[] => rows.map((row) => row[0]!);

  it("has several calls under way, and gives numbers in the order of the texts", async () => {
    const { model: made, state } = model([30, 1, 20, 0, 5, 15]);
    const done: number[] = [];
    const rows = await made.run(
      Array.from({ length: 25 }, (_, i) => long(2, i)),
      (count) => done.push(count),
    );
    expect(numbers(rows)).toEqual(Array.from({ length: 25 }, (_, i) => i));
    expect(state.most).toBe(4);
    expect(state.calls).toBe(13);
    expect(done).toEqual([...done].sort((a, b) => a - b));
    expect(done.at(-1)).toBe(25);
  });
  it("reads texts only as it needs them, and ends where it is told to", async () => {
    let read = 0;
    function* texts(): Generator<Typed> {
      for (;;) yield long(4, read++);
    }
    const stop = (done: number): void => {
      if (done >= 3) throw new Error("enough");
    };
    await expect(model().model.run(texts(), stop)).rejects.toThrow("enough");
    expect(read).toBeLessThan(12);
  });
  it("gives no number that is none", async () => {
    await expect(model([], true).model.run([long(2)], () => {})).rejects.toBeInstanceOf(GpuError);
  });
  it("is computed by a CPU's threads as well, of which none gives a number that is none", async () => {
    const asked: unknown[] = [];
    const made = (answer: (words: TextWords) => number[], check = (): void => {}): TextModel => {
      const call = async (name: string, [words, output]: [TextWords, object]): Promise<Float32Array> => {
        asked.push([name, output]);
        return Float32Array.from(answer(words));
      };
      const calls = new CpuTextCalls({ call, check } as never);
      return new TextModel({ calls, output: { name: "scores", width: 1 }, callTokens: 4 });
    };
    const firsts = ({ tokens, texts }: TextWords): number[] => [...texts].map((first) => tokens[first]!);
    expect(numbers(await made(firsts).run([long(2, 7), long(2, 8), long(3, 9)], () => {}))).toEqual([7, 8, 9]);
    expect(asked).toEqual(Array(2).fill(["texts", { name: "scores", width: 1 }]));
    const wrong = made(() => [Number.NaN]);
    await expect(wrong.run([long(1)], () => {})).rejects.toBeInstanceOf(WorkerError);
    const ended = made(firsts, () => {
      throw new UnloadedError();
    });
    await expect(ended.run([long(1)], () => {})).rejects.toBeInstanceOf(UnloadedError);
  });
});

describe("a bundle of a model of whole texts", () => {
  const sizes = { context_length: 16, prefill_chunk: 32 };
  const manifest = (embedding: object | undefined, more: object = {}, model: object = sizes) =>
    ({ model, embedding, ...more }) as never;
  it.each([
    ["reranking", manifest(EMBEDDING, { reranking: { activation: "none" } })],
    ["model.prefill_chunk", manifest(EMBEDDING, {}, { ...sizes, context_length: 33 })],
    ["embedding.matryoshka[1]", manifest({ ...EMBEDDING, matryoshka: [2, 5] })],
    ["embedding.default_prompt", manifest({ ...EMBEDDING, default_prompt: "toString" })],
  ])("is refused for %s", (field, wrong) => {
    expect(() => checkTextManifest(wrong)).toThrow(`The bundle is not valid: ${field}: `);
  });
  it("has buffers for a call", () => {
    const plan = (bytes: number) => ({
      buffers: [
        { name: "tokens", kind: "input", bytes: 128 },
        { name: "places", kind: "input", bytes: 512 },
        { name: "texts", kind: "input", bytes: 128 },
        { name: "embeddings", kind: "output", bytes },
      ],
    });
    checkTextPlan(plan(512) as never, manifest(EMBEDDING));
    expect(() => checkTextPlan(plan(508) as never, manifest(EMBEDDING))).toThrow("embeddings has 508 of 512 bytes");
  });
  it("has a validation of its own tokens and sizes", () => {
    const facts = { vocabSize: 10, limit: 4, embedding: EMBEDDING, reranking: undefined };
    const parse = (one: object): unknown =>
      parseTextValidation({ texts: [one], tolerance: { float32: 1, float16: 1 } }, facts);
    const right = { text: "a", tokens: [1, 2], output: [1, 2, 3, 4] };
    parse(right);
    for (const [wrong, field] of [
      [{ tokens: [10] }, "texts[0].tokens[0]"],
      [{ tokens: [1, 1, 1, 1, 1] }, "texts[0].tokens"],
      [{ output: [1] }, "texts[0].output"],
      [{ document: "b" }, "texts[0].document"],
    ] as const)
      expect(() => parse({ ...right, ...wrong })).toThrow(`${field}: `);
    expect(() => parseTextValidation(undefined, facts)).toThrow(BundleError);
  });
});
