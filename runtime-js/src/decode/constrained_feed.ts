// Feeds an answer under a constraint. The GPU samples among the tokens that the constraint's mask allows. While a token
// is read back its step runs, so that only the next choice waits for the next mask. Where masks stay as they are, as
// inside of a string, whole steps run ahead, and are discarded where they would have chosen another token. Tokens that
// are forced are fed together and sampled by nobody.
import { CancelledError } from "../errors.js";
import type { CachedTokens } from "./cached_tokens.js";
import { allows, type Constraint } from "./constraint.js";
import { FAST_MS, type Feed, SLOW_MS } from "./feed.js";
import type { GeneratedToken, Resumption } from "./loop.js";
import type { Model, Sampling } from "./model.js";

/** Steps that run ahead where they are fast: about what a read-back's latency leaves time for. */
const AHEAD = 3;

/** How often the token after a mask left it as it was, lately: from 0 to MOST. It is likely to do so again from LIKELY
 * on. Grammars keep their masks, so what one answer learns serves the next. */
const stays = new WeakMap<Int32Array, number>();
const MOST = 3,
  LIKELY = 2;

export class ConstrainedFeed implements Feed {
  private readonly answer: number[] = [];
  private handed = 0;
  private accepted = 0;
  /** Tokens of the answer that the KV cache holds, once what is submitted has run. */
  private fed = 0;
  /** Tokens of the answer that the GPU has sampled: the next one's random number goes by it. */
  private sampled = 0;
  /** Tokens that are being sampled under `mask`, each from those before it. */
  private inFlight: Promise<number>[] = [];
  private mask: Int32Array | undefined;
  /** The last token left the mask as it was. */
  private steady = false;
  /** The step of the token in flight is under way. */
  private decoding = false;
  /** The constraint was asked for the tokens that begin every answer. */
  private begun = false;
  private started = false;
  private finished = false;
  private lastAt = 0;
  private stepMs = NaN;
  private counts: Int32Array<ArrayBuffer> | undefined;
  private counted = 0;

  constructor(
    private model: Model,
    private readonly kv: CachedTokens,
    private prompt: readonly number[],
    private readonly sampling: Sampling,
    private readonly constraint: Constraint,
    /** Tokens that the answer may have. */
    private readonly limit: number,
    private readonly depth: number,
  ) {}

  async next(): Promise<GeneratedToken> {
    if (!this.started) await this.start();
    if (this.handed === this.answer.length) await this.sample();
    return { token: this.answer[this.handed++]! };
  }

  accept(): void {
    this.accepted++;
  }
  async ahead(): Promise<void> {}

  finish(): void {
    this.finished = true;
    this.discard();
    if (!this.started || this.kv.length === 0) return;
    const kept = Math.min(this.accepted, this.fed);
    this.kv.truncate(this.prompt.length + kept); // after `resume` it has what was to be handed out
    this.kv.push(...this.answer.slice(Math.max(0, this.kv.length - this.prompt.length), kept));
  }

  resume({ model, prompt }: Resumption): readonly number[] {
    this.model = model;
    this.prompt = prompt;
    this.discard();
    this.started = false;
    return [...prompt, ...this.answer];
  }

  private async start(): Promise<void> {
    this.started = true;
    await this.model.setSampling(this.sampling, this.answer);
    if (this.finished) throw new CancelledError("Cancelled.", undefined);
    const rest = [...this.prompt, ...this.answer].slice(this.kv.length);
    this.model.feed(rest, this.kv.length, this.sampled);
    this.kv.push(...rest);
    this.fed = this.answer.length;
    if (this.begun) return;
    this.begun = true;
    this.answer.push(...this.constraint.force());
    // The first token is there when the prompt has been read, whoever chose it: usage tells the two times apart by it.
    if (this.answer.length > 0) await this.model.done();
  }

  /** Appends the next token to the answer, and those that it forces. */
  private async sample(): Promise<void> {
    const { constraint, answer } = this;
    if (this.inFlight.length === 0) await this.submit();
    const under = this.mask!;
    if (this.steady || (stays.get(under) ?? 0) >= LIKELY) this.runAhead();
    else this.decodeAhead();
    const token = await this.inFlight.shift()!;
    if (this.finished) return;
    this.measure();
    this.sampled++;
    constraint.accept(token);
    const forced = constraint.force();
    answer.push(token, ...forced);
    let stayed = false;
    if (this.decoding) {
      this.decoding = false;
      this.fed = answer.length - forced.length;
      stayed = this.steady = forced.length === 0 && equal(constraint.mask(), under);
    } else if (this.inFlight.length > 0 && forced.length === 0 && (await this.holds(constraint.mask()))) {
      this.fed = answer.length;
      stayed = true;
    } else this.discard();
    stays.set(under, Math.max(0, Math.min(MOST, (stays.get(under) ?? 1) + (stayed ? 1 : -1))));
  }

  /** Whether the next token in flight is what the GPU would have sampled under this mask. */
  private async holds(mask: Int32Array): Promise<boolean> {
    const before = this.mask!;
    if (mask === before) return true;
    let fewer = false;
    for (let i = 0; i < mask.length; i++) {
      if (mask[i] === before[i]) continue;
      if (mask[i]! & ~before[i]!) return false;
      fewer = true;
    }
    if (!fewer) return true;
    // The best of many is the best of those that are left, if it is one of them. A filter goes by all of them.
    const { temperature, topK, topP } = this.sampling;
    if (temperature > 0 && (topK > 0 || topP < 1)) return false;
    return allows(mask, await this.inFlight[0]!);
  }

  /** Feeds what the GPU lacks of the answer, and samples the token that follows. */
  private async submit(): Promise<void> {
    const { model, constraint, prompt, answer } = this;
    await model.reserve(prompt.length + answer.length);
    if (this.finished) throw new CancelledError("Cancelled.", undefined); // nobody waits: nothing may be submitted
    while (this.fed < answer.length) {
      const chunk = answer.slice(this.fed, this.fed + model.prefillChunk);
      model.feed(chunk, prompt.length + this.fed, this.sampled);
      this.fed += chunk.length;
    }
    const mask = constraint.mask();
    this.mask = mask;
    this.inFlight.push(model.sample(mask, this.countAnswer()));
  }

  /** How often the answer has each token, where penalties ask for it. */
  private countAnswer(): Int32Array<ArrayBuffer> | undefined {
    if (!this.sampling.penalties) return undefined;
    this.counts ??= new Int32Array(this.model.vocabSize);
    for (; this.counted < this.answer.length; this.counted++) this.counts[this.answer[this.counted]!]!++;
    return this.counts;
  }

  /** Submits the step of the token in flight, and leaves the choice after it for the next mask. */
  private decodeAhead(): void {
    if (this.depth < 2 || this.stepMs > SLOW_MS || !this.hasRoom(this.answer.length + 1)) return;
    this.model.decode();
    this.decoding = true;
  }

  /** Submits steps under the same mask. Where a step takes long, a latency is nothing, and a vain step is much. */
  private runAhead(): void {
    const { answer, inFlight, stepMs } = this;
    if (this.model.recurrent) return; // a vain step cannot be taken back at once
    const most = stepMs > SLOW_MS ? 0 : stepMs < FAST_MS ? AHEAD : 1;
    while (inFlight.length <= Math.min(most, this.depth - 1)) {
      if (!this.hasRoom(answer.length + inFlight.length)) return;
      const token = this.model.sampleAgain();
      token.catch(() => {});
      inFlight.push(token);
    }
  }

  /** Whether so many tokens of the answer may be fed. */
  private hasRoom(tokens: number): boolean {
    return tokens < this.limit && this.prompt.length + tokens <= this.model.kvTokens;
  }

  private discard(): void {
    for (const token of this.inFlight) token.catch(() => {});
    this.inFlight = [];
    this.steady = this.decoding = false;
    this.lastAt = 0;
  }

  /** The time between tokens of which one ran ahead of the other. */
  private measure(): void {
    const now = performance.now();
    if (this.lastAt) this.stepMs = now - this.lastAt;
    this.lastAt = now;
  }
}

const equal = (a: Int32Array, b: Int32Array): boolean => a === b || a.every((word, i) => word === b[i]);
