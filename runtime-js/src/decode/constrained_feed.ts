// Feeds an answer under a constraint. The GPU samples among the tokens that the constraint's mask allows, and runs a few
// steps ahead with the same mask: inside of a string, say, most tokens leave it as it is. Where a token changes it, what
// ran ahead is discarded. Tokens that are forced are fed together and sampled by nobody.
import { CancelledError } from "../errors.js";
import type { CachedTokens } from "./cached_tokens.js";
import type { Constraint } from "./constraint.js";
import { FAST_MS, type Feed, SLOW_MS } from "./feed.js";
import type { GeneratedToken } from "./loop.js";
import type { Model, Sampling } from "./model.js";

/** Steps that run ahead where they are fast: about what a read-back's latency leaves time for. */
const AHEAD = 3;

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
  private started = false;
  private finished = false;
  private lastAt = 0;
  private stepMs = NaN;

  constructor(
    private readonly model: Model,
    private readonly kv: CachedTokens,
    private readonly prompt: readonly number[],
    private readonly sampling: Sampling,
    private readonly constraint: Constraint,
    /** Tokens that the answer may have. */
    private readonly limit: number,
    private readonly depth: number,
  ) {}

  async next(): Promise<GeneratedToken> {
    if (!this.started) this.start();
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
    if (this.started && this.kv.length > 0) this.kv.push(...this.answer.slice(0, Math.min(this.accepted, this.fed)));
  }

  private start(): void {
    this.started = true;
    this.model.setSampling(this.sampling);
    const rest = this.prompt.slice(this.kv.length);
    this.model.feed(rest, this.kv.length, 0);
    this.kv.push(...rest);
    this.answer.push(...this.constraint.force());
  }

  /** Appends the next token to the answer, and those that it forces. */
  private async sample(): Promise<void> {
    const { constraint, answer } = this;
    if (this.inFlight.length === 0) await this.submit();
    this.runAhead();
    const token = await this.inFlight.shift()!;
    if (this.finished) return;
    this.measure();
    this.sampled++;
    constraint.accept(token);
    const forced = constraint.force();
    answer.push(token, ...forced);
    if (this.inFlight.length > 0 && forced.length === 0 && constraint.mask() === this.mask) this.fed = answer.length;
    else this.discard();
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
    this.inFlight.push(model.sample(mask));
  }

  /** Submits steps under the same mask. Where a step takes long, a latency is nothing, and a vain step is much. */
  private runAhead(): void {
    const { model, prompt, answer, inFlight, stepMs } = this;
    const most = stepMs > SLOW_MS ? 0 : stepMs < FAST_MS ? AHEAD : 1;
    while (inFlight.length <= Math.min(most, this.depth - 1)) {
      const tokens = answer.length + inFlight.length; // with those in flight, all of which are fed then
      if (tokens >= this.limit || prompt.length + tokens > model.kvTokens) return;
      const token = model.sampleAgain();
      token.catch(() => {});
      inFlight.push(token);
    }
  }

  private discard(): void {
    for (const token of this.inFlight) token.catch(() => {});
    this.inFlight = [];
    this.lastAt = 0;
  }

  /** The time between tokens of which one ran ahead of the other. */
  private measure(): void {
    const now = performance.now();
    if (this.lastAt) this.stepMs = now - this.lastAt;
    this.lastAt = now;
  }
}
