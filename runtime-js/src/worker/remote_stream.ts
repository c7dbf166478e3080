// Reads a stream that a worker makes. The page says how much it has read, and the worker runs only so far ahead.

/** Items that a worker makes ahead of the page's reading. */
export const AHEAD = 32;
/** Items on their way to a page, after which the worker keeps those that follow for one message. */
export const WINDOW = 8;

interface Reader<T, R> {
  resolve(result: IteratorResult<T, R>): void;
  reject(error: unknown): void;
}

export class RemoteStream<T, R = void> implements AsyncIterableIterator<T, R, void> {
  private items: T[] = [];
  private at = 0;
  private readonly readers: Reader<T, R>[] = [];
  private end: { value: R } | { error: unknown } | undefined;
  private read = 0;
  private told = -1;
  /** Whether something came, so that the stream cannot begin again elsewhere. */
  begun = false;

  /** `more` tells the worker how many items were read, and `leave` that no more are wanted. */
  constructor(
    private readonly more: (read: number) => void,
    private readonly leave: () => void,
  ) {}

  next(): Promise<IteratorResult<T, R>> {
    if (this.at < this.items.length) return Promise.resolve({ done: false, value: this.take() });
    const { end } = this;
    if (end) {
      // An error is told once; after it the stream is at its end, as a generator is.
      this.end = { value: undefined as R };
      return "error" in end ? Promise.reject(end.error) : Promise.resolve({ done: true, value: end.value });
    }
    if (this.told < 0) this.tell();
    return new Promise((resolve, reject) => this.readers.push({ resolve, reject }));
  }

  /** Ends the answer; what was not read is dropped. */
  async return(value?: R | PromiseLike<R>): Promise<IteratorResult<T, R>> {
    this.drop();
    if (!this.end) {
      this.finish({ value: undefined as R });
      this.leave();
    }
    return { done: true, value: (await value) as R };
  }

  /** Ends it with an error, which who reads next gets. What was not read is dropped. */
  fail(error: unknown): void {
    if (this.end) return;
    this.drop();
    this.finish({ error });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** What came from the worker. */
  add(items: T[], end?: { value: R } | { error: unknown }): void {
    if (this.end) return;
    this.begun = true;
    this.items = this.at < this.items.length ? [...this.items.slice(this.at), ...items] : items;
    this.at = 0;
    while (this.readers.length > 0 && this.at < this.items.length)
      this.readers.shift()!.resolve({ done: false, value: this.take(end !== undefined) });
    if (end) this.finish(end);
  }

  /** Asks again, of a worker that knows nothing of what was asked before. */
  askAgain(): void {
    if (this.told < 0) return;
    this.told = -1;
    this.tell();
  }

  private take(last = false): T {
    const item = this.items[this.at++]!;
    this.read++;
    // Not each time: a message costs the page more than an item does.
    if (!last && this.read - this.told >= WINDOW / 2) this.tell();
    return item;
  }

  private tell(): void {
    if (this.told === this.read || this.end) return;
    this.told = this.read;
    this.more(this.read);
  }

  private drop(): void {
    this.items = [];
    this.at = 0;
  }

  private finish(end: { value: R } | { error: unknown }): void {
    this.end = end;
    for (const { resolve, reject } of this.readers.splice(0)) {
      const { end: now } = this;
      this.end = { value: undefined as R };
      if ("error" in now!) reject(now.error);
      else resolve({ done: true, value: now!.value });
    }
  }
}
