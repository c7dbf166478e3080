// Records which tokens the KV cache holds. A new prompt reuses the longest common prefix; rolling back is forgetting
// the rest.

export class CachedTokens {
  private tokens: number[] = [];
  private holder: unknown;

  /** The conversation so far; a model that is loaded again reads it again. */
  get held(): readonly number[] {
    return this.tokens;
  }

  get length(): number {
    return this.tokens.length;
  }

  /** Says which model's cache this is: what another one held, that one must read again. */
  moveTo(model: unknown): void {
    if (this.holder !== model) this.tokens = [];
    this.holder = model;
  }

  /** How many tokens the cache of this model holds. */
  lengthIn(model: unknown): number {
    return this.holder === model ? this.length : 0;
  }

  /** Keeps the common prefix with a prompt and returns its length, always less than the prompt's: the last token must
   * run again, since its logits are not kept. */
  reuse(prompt: readonly number[]): number {
    const limit = Math.min(this.tokens.length, prompt.length - 1);
    let common = 0;
    while (common < limit && this.tokens[common] === prompt[common]) common++;
    this.truncate(common);
    return common;
  }

  push(...tokens: number[]): void {
    for (const token of tokens) this.tokens.push(token);
  }

  truncate(length: number): void {
    if (length < this.tokens.length) this.tokens.length = length;
  }

  clear(): void {
    this.tokens = [];
  }
}
