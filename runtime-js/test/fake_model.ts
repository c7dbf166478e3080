// Defines a model without a GPU, whose answers are known.
import type { Constraint, GenerateParams, Model, Sampling } from "../src/decode/index.js";
import { DeviceLostError, OutOfMemoryError } from "../src/errors.js";

export const END = 99;

/** Each token is a function of all tokens before it, held in a KV array as a GPU would hold it. */
export class FakeModel implements Model {
  readonly vocabSize = 100;
  readonly prefillChunk = 4;
  contextLength = 32;
  kv: number[] = [];
  position = 0;
  token = 0;
  taken = 0;
  inFlight = 0;
  mostInFlight = 0;
  chunks: number[] = [];
  failAt = -1;
  lastSampling: Sampling | undefined;
  delay = 1;
  submissions = 0;
  private last: Promise<void> = Promise.resolve();
  constructor(private readonly rule: (history: number[]) => number) {}

  kvTokens = 32;
  /** Tokens that the fake GPU has memory for. */
  fits = Infinity;
  reserved: number[] = [];
  async reserve(tokens: number): Promise<void> {
    if (tokens <= this.kvTokens) return;
    this.reserved.push(tokens);
    await new Promise((resolve) => setTimeout(resolve, this.delay));
    if (tokens > this.fits) throw new OutOfMemoryError("no room");
    this.kvTokens = Math.min(this.contextLength, this.fits, Math.max(tokens, this.kvTokens * 2));
  }
  penalizes = false;
  /** What it was told of how often the answer has each token. */
  counted: (Int32Array | undefined)[] = [];
  async setSampling(sampling: Sampling): Promise<void> {
    this.lastSampling = sampling;
  }
  /** What was fed, and whether it ran ahead. */
  fedAt: { size: number; ahead: boolean }[] = [];
  protected put(tokens: readonly number[], position: number, ahead = false): void {
    this.fedAt.push({ size: tokens.length, ahead });
    if (position + tokens.length > Math.min(this.contextLength, this.kvTokens)) throw new Error("past the KV cache");
    this.chunks.push(tokens.length);
    for (const [i, token] of tokens.entries()) this.kv[position + i] = token;
    this.position = position + tokens.length;
  }
  private later<T>(value: T, steps = 1): Promise<T> {
    this.inFlight += steps;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    // One after the other, as on a GPU.
    const done = this.last.then(() => new Promise<void>((resolve) => setTimeout(resolve, this.delay)));
    this.last = done;
    return done.then(() => {
      this.inFlight -= steps;
      return value;
    });
  }
  /** Feeds the token that was sampled last. */
  protected step(): void {
    this.kv[this.position++] = this.token;
  }
  /** All tokens up to the last that was fed. */
  protected history(): number[] {
    return this.kv.slice(0, this.position);
  }
  private next(): number {
    this.token = this.rule(this.history());
    return this.token;
  }
  prefill(tokens: readonly number[], position: number): Promise<void> {
    this.put(tokens, position);
    return this.later(undefined);
  }
  prefillAndSample(tokens: readonly number[], position: number): Promise<number> {
    this.put(tokens, position);
    return this.later(this.next());
  }
  steps(count: number): Promise<number[]> {
    this.submissions++;
    const tokens: number[] = [];
    for (let i = 0; i < count; i++) {
      if (this.taken++ === this.failAt) return Promise.reject(new DeviceLostError("gone"));
      if (this.position >= Math.min(this.contextLength, this.kvTokens)) throw new Error("past the KV cache");
      this.step();
      tokens.push(this.next());
    }
    return this.later(tokens, count);
  }
  feed(tokens: readonly number[], position: number): void {
    this.put(tokens, position);
  }
  done(): Promise<void> {
    return this.later(undefined);
  }
  private mask = new Int32Array(4);
  /** Tokens sampled that no step before them ran ahead for. */
  samples = 0;
  sample(mask: Int32Array, counts?: Int32Array): Promise<number> {
    this.samples++;
    this.counted.push(counts?.slice());
    this.mask = mask.slice();
    return this.later(this.sampleMasked());
  }
  /** Steps that ran before their token was known. */
  ahead = 0;
  decode(): void {
    if (this.taken++ === this.failAt) throw new DeviceLostError("gone");
    this.ahead++;
    this.put([this.token], this.position, true);
  }
  sampleAgain(): Promise<number> {
    if (this.taken++ === this.failAt) return Promise.reject(new DeviceLostError("gone"));
    this.ahead++;
    this.put([this.token], this.position, true);
    return this.later(this.sampleMasked());
  }
  /** The rule's token, or the next one up that the mask allows. */
  private sampleMasked(): number {
    const first = this.next();
    for (let i = 0; i < this.vocabSize; i++) {
      const token = (first + i) % this.vocabSize;
      if (!((this.mask[token >> 5]! >>> (token & 31)) & 1)) continue;
      this.token = token;
      return token;
    }
    throw new Error("a mask that allows nothing");
  }
  private logits(): Float32Array {
    const out = new Float32Array(100);
    out[this.rule(this.history())] = 5;
    return out;
  }
  prefillAndRead(tokens: readonly number[], position: number): Promise<Float32Array> {
    this.put(tokens, position);
    return this.later(this.logits());
  }
  decodeAndRead(token: number, position: number): Promise<Float32Array> {
    this.put([token], position);
    return this.later(this.logits());
  }
}

export const sum = (history: number[]): number => history.reduce((a, t, i) => (a + t * (i + 1)) % 89, 7);
/** Counts from the last token up, and ends after `last`. */
export const upTo =
  (last: number) =>
  (history: number[]): number =>
    history.at(-1)! >= last ? END : history.at(-1)! + 1;
export const argmax = { sample: (logits: Float32Array): number => logits.indexOf(Math.max(...logits)) };
/** Holds an answer to nothing. */
export const FREE: Constraint = {
  mask: () => new Int32Array(4).fill(-1),
  accept: () => {},
  force: () => [],
};
/** A request that needs no logits. */
export const HOST_OFF = {
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  logitBias: new Map<number, number>(),
  topLogprobs: undefined,
};
/** The most likely tokens, without an end but END, with some steps in flight. */
export const params = (more: Partial<GenerateParams> = {}): GenerateParams => ({
  sampling: { temperature: 0, topP: 1, topK: 0, seed: 0 },
  host: HOST_OFF,
  maxTokens: Infinity,
  stopTokens: new Set([END]),
  depth: 4,
  ...more,
});
