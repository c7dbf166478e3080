// Feeds tokens that the GPU samples back to it, with several steps in flight.
import { CancelledError, GpuError } from "../errors.js";
import type { CachedTokens } from "./cached_tokens.js";
import { BATCH, FAST_MS, type Feed, SLOW_MS } from "./feed.js";
import type { GeneratedToken, Resumption } from "./loop.js";
import type { Model, Sampling } from "./model.js";

/** Tokens sampled and fed back on the GPU. */
export class GpuFeed implements Feed {
  private inFlight: Promise<number>[] = [];
  private started = false;
  private finished = false;
  private submitted = 0;
  private readonly accepted: number[] = [];
  /** Accepted tokens that this model was given with the prompt. */
  private given = 0;
  private lastAt = 0;
  private stepMs = NaN;
  /** Why no more steps are submitted: the KV cache could not grow, or the device is lost. */
  private refused: unknown;

  constructor(
    private model: Model,
    private readonly kv: CachedTokens,
    private prompt: readonly number[],
    private readonly sampling: Sampling,
    private readonly limit: number,
    private readonly depth: number,
  ) {}

  async next(): Promise<GeneratedToken> {
    if (!this.started) {
      this.started = true;
      const { accepted, given } = this;
      await this.model.setSampling(this.sampling, accepted);
      if (this.finished) throw new CancelledError(); // nobody waits: nothing may be submitted
      const rest = [...this.prompt, ...accepted].slice(this.kv.length);
      this.track(
        this.model.prefillAndSample(rest, this.kv.length, given).then((token) => [token]),
        1,
      );
      this.kv.push(...rest);
      await this.ahead();
    }
    const inFlight = this.inFlight[0];
    if (!inFlight) throw this.refused ?? new GpuError("No step is in flight.");
    const token = await inFlight;
    this.inFlight.shift();
    return { token };
  }

  accept(token: number): void {
    this.accepted.push(token);
  }

  async ahead(): Promise<void> {
    const depth = this.stepMs <= SLOW_MS ? this.depth : Math.min(2, this.depth); // and until the first is measured
    const batch = this.stepMs < FAST_MS ? Math.min(BATCH, Math.ceil(depth / 2)) : 1;
    for (;;) {
      const left = this.limit - this.submitted,
        room = depth - this.inFlight.length;
      if (left <= 0 || room < Math.min(batch, left) || this.refused) return;
      const count = Math.min(batch, left);
      const tokens = this.prompt.length + this.submitted + count - 1;
      try {
        if (tokens > this.model.kvTokens) await this.model.reserve(tokens);
        this.track(this.model.steps(count), count);
      } catch (error) {
        this.refused = error; // thrown when the tokens that are in flight have been taken
        return;
      }
    }
  }

  private track(tokens: Promise<number[]>, count: number): void {
    tokens.then(
      () => {
        const now = performance.now();
        if (this.lastAt) this.stepMs = (now - this.lastAt) / count;
        this.lastAt = now;
      },
      () => {},
    );
    this.submitted += count;
    for (let i = 0; i < count; i++) this.inFlight.push(tokens.then((all) => all[i]!));
    for (const token of this.inFlight.slice(-count)) token.catch(() => {}); // nobody reads tokens past a stop
  }

  resume({ model, prompt }: Resumption): readonly number[] {
    this.model = model;
    this.prompt = prompt;
    this.inFlight = [];
    this.started = false;
    this.refused = undefined;
    this.lastAt = 0;
    this.given = this.submitted = this.accepted.length;
    return [...prompt, ...this.accepted];
  }

  finish(): void {
    this.finished = true;
    // Steps in flight are not waited for: the GPU runs them before anything that is submitted later, and they change
    // only positions past the accepted ones.
    // Step i fed accepted token i - 1, so the KV cache holds all accepted tokens that were fed.
    if (this.started && this.kv.length > 0)
      this.kv.push(...this.accepted.slice(this.given, Math.max(this.given, this.submitted - 1)));
  }
}
