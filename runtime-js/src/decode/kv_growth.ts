// Grows the KV buffers to twice their size as a conversation nears their end.
import { OutOfMemoryError } from "../errors.js";

/** Tokens that the KV buffers have room for when a model is loaded, unless the page asks for others. */
export const FIRST_TOKENS = 1024;

export interface KvRoom {
  /** Pages that the buffers hold. */
  readonly pages: number;
  /** Makes them hold more, with their content; throws OutOfMemoryError and changes nothing when the GPU has no room. */
  grow(pages: number): Promise<void>;
}

export class KvGrowth {
  private readonly maxPages: number;
  constructor(
    private readonly room: KvRoom,
    private readonly pageSize: number,
    private readonly contextLength: number,
  ) {
    this.maxPages = Math.ceil(contextLength / pageSize);
  }

  /** Tokens that there is room for. */
  get tokens(): number {
    return Math.min(this.contextLength, this.room.pages * this.pageSize);
  }

  /** Makes room for `tokens` in all, at most the context length. It doubles the size, so that each token is copied once
   * on average. Where the GPU has no room for that, it takes only what is needed. */
  async reserve(tokens: number): Promise<void> {
    if (tokens <= this.tokens) return;
    const needed = Math.min(this.maxPages, Math.ceil(tokens / this.pageSize));
    const doubled = Math.min(this.maxPages, Math.max(needed, this.room.pages * 2));
    try {
      await this.room.grow(doubled);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      try {
        if (needed === doubled) throw error;
        await this.room.grow(needed);
      } catch (cause) {
        if (!(cause instanceof OutOfMemoryError)) throw cause;
        throw new OutOfMemoryError(
          `The GPU has no room for a conversation of ${tokens} tokens; ${this.tokens} fit.`,
          "Start a shorter conversation, close other tabs, or choose a smaller model.",
          { cause },
        );
      }
    }
  }
}
