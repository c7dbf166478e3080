// Reads each token's logits back, samples on the CPU, and feeds the token to the next step.
import type { CachedTokens } from "./cached_tokens.js";
import type { Constraint } from "./constraint.js";
import type { Feed } from "./feed.js";
import type { HostSampler } from "./host_sampling.js";
import type { GeneratedToken, Resumption } from "./loop.js";
import type { Model } from "./model.js";

/** Logits read back, sampled by model.wasm, and the token written for the next step. */
export class HostFeed implements Feed {
  private last: number | undefined;
  private readonly answer: number[] = [];
  constructor(
    private model: Model,
    private readonly kv: CachedTokens,
    private readonly sampler: HostSampler,
    private prompt: readonly number[],
    private readonly constraint?: Constraint,
  ) {}

  async next(): Promise<GeneratedToken> {
    const position = this.kv.length;
    let logits: Promise<Float32Array>;
    if (this.last === undefined) {
      const rest = [...this.prompt, ...this.answer].slice(position);
      logits = this.model.prefillAndRead(rest, position);
      this.kv.push(...rest);
    } else {
      await this.model.reserve(position + 1);
      logits = this.model.decodeAndRead(this.last, position);
      this.kv.push(this.last);
    }
    const next = this.sampler.next(await logits, this.constraint?.mask());
    this.constraint?.accept(next.token);
    this.last = next.token;
    this.answer.push(next.token);
    return next;
  }
  resume({ model, prompt }: Resumption): readonly number[] {
    this.model = model;
    this.prompt = prompt;
    this.last = undefined;
    return [...prompt, ...this.answer];
  }
  accept(): void {}
  async ahead(): Promise<void> {}
  finish(): void {}
}
