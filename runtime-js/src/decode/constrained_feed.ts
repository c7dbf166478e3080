// Feeds an answer under a constraint. The GPU samples among the tokens that the constraint's mask allows. While a token
// is read back, its step runs already: only the choice of the next token waits for the next mask. Tokens that are forced
// are fed together and sampled by nobody.
import { CancelledError } from "../errors.js";
import type { CachedTokens } from "./cached_tokens.js";
import type { Constraint } from "./constraint.js";
import { type Feed, SLOW_MS } from "./feed.js";
import type { GeneratedToken } from "./loop.js";
import type { Model, Sampling } from "./model.js";

export class ConstrainedFeed implements Feed {
  private readonly answer: number[] = [];
  private handed = 0;
  private accepted = 0;
  /** Tokens of the answer that the KV cache holds, once what is submitted has run. */
  private fed = 0;
  private sampled = 0;
  private started = false;
  private finished = false;
  private lastAt = 0;
  private stepMs = 0;

  constructor(
    private readonly model: Model,
    private readonly kv: CachedTokens,
    private readonly prompt: readonly number[],
    private readonly sampling: Sampling,
    private readonly constraint: Constraint,
    /** Tokens that the answer may have. */
    private readonly limit: number,
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

  /** Feeds what the GPU lacks of the answer, and appends the token that follows and those that it forces. */
  private async sample(): Promise<void> {
    const { model, constraint, prompt, answer } = this;
    await this.reserve(answer.length);
    while (this.fed < answer.length) {
      const chunk = answer.slice(this.fed, this.fed + model.prefillChunk);
      model.feed(chunk, prompt.length + this.fed, this.sampled);
      this.fed += chunk.length;
    }
    const read = model.sample(constraint.mask());
    this.sampled++;
    // Where a step takes long, a read-back's latency is nothing, and a step that a forced token makes vain is much.
    if (this.stepMs <= SLOW_MS && this.fed + 1 < this.limit && prompt.length + this.fed < model.kvTokens) {
      model.decode();
      this.fed++;
    }
    const token = await read;
    if (this.finished) return;
    const now = performance.now();
    if (this.lastAt) this.stepMs = now - this.lastAt;
    this.lastAt = now;
    constraint.accept(token);
    answer.push(token, ...constraint.force());
  }

  private async reserve(tokens: number): Promise<void> {
    await this.model.reserve(this.prompt.length + tokens);
    if (this.finished) throw new CancelledError("Cancelled.", undefined); // nobody waits: nothing may be submitted
  }
}
