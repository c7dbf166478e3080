// Lets one request run at a time. `enter` resolves with the caller's turn. `inTurn` ends a stream that is told to end,
// even if nobody reads it any more, so that it does not keep its turn.
import { CancelledError } from "../errors.js";

export class Turn {
  /** Whether the answer must end here. */
  interrupted = false;
  /** Called when the answer must end, with an error or without one. */
  onEnd: ((error?: Error) => void) | undefined;
  /** `signal` is the one that came with the request. */
  constructor(
    readonly leave: () => void,
    readonly signal?: AbortSignal | undefined,
  ) {}
}

interface Waiter {
  readonly signal: AbortSignal | undefined;
  readonly go: (turn: Turn) => void;
  readonly fail: (error: Error) => void;
}

export class Queue {
  private holder: Turn | undefined;
  private waiting: Waiter[] = [];
  private closed: Error | undefined;

  /** Waits for a turn; `first` goes before all others that wait. */
  async enter(signal?: AbortSignal, first = false): Promise<Turn> {
    if (this.closed) throw this.closed;
    const cancelled = (): CancelledError =>
      new CancelledError("Cancelled while waiting for the request before.", signal?.reason);
    if (signal?.aborted) throw cancelled();
    const entering = new Promise<Turn>((go, fail) => {
      const waiter = { go, fail, signal };
      if (first) this.waiting.unshift(waiter);
      else this.waiting.push(waiter);
      if (!signal) return;
      const stop = (): void => {
        this.waiting = this.waiting.filter((other) => other !== waiter);
        fail(cancelled());
      };
      signal.addEventListener("abort", stop, { once: true });
      waiter.go = (turn) => {
        signal.removeEventListener("abort", stop);
        go(turn);
      };
    });
    this.next();
    return entering;
  }

  /** Ends the answer whose turn it is, if it is one; of `only` these signals, where they are given. */
  interrupt(only?: ReadonlySet<AbortSignal>): void {
    const { holder } = this;
    if (!holder || (only && !(holder.signal && only.has(holder.signal)))) return;
    holder.interrupted = true;
    holder.onEnd?.();
  }

  /** Closes the queue for good. The request that has the turn, those that wait and all later ones get this error. */
  close(error: Error): void {
    this.closed ??= error;
    this.fail(error);
  }

  /** The request that has the turn and those that wait get this error. */
  fail(error: Error): void {
    this.holder?.onEnd?.(error);
    for (const { fail } of this.waiting.splice(0)) fail(error);
  }

  private next(): void {
    if (this.holder || this.waiting.length === 0) return;
    const { go, signal } = this.waiting.shift()!; // go also ends waiting for the signal
    const turn = new Turn(() => {
      if (this.holder !== turn) return;
      this.holder = undefined;
      this.next();
    }, signal);
    this.holder = turn;
    go(turn);
  }
}

/** Yields the items of `work` in a turn of its own, which begins when the reader asks for the first item. When the turn
 * must end (an interruption, the signal, a closed queue), this takes the remaining items at once, and keeps them for a
 * reader who still asks. */
export function inTurn<T, R>(
  queue: Queue,
  signal: AbortSignal | undefined,
  work: (turn: Turn) => AsyncGenerator<T, R, void>,
): AsyncIterableIterator<T, R, void> & { return(): Promise<unknown> } {
  const rest: Promise<IteratorResult<T, R>>[] = [];
  async function take(first: Promise<IteratorResult<T, R>>): Promise<void> {
    for (let next = first; ; next = run.next()) {
      rest.push(next);
      if ((await next).done) return;
    }
  }
  const end = (error?: Error): void => {
    take(error ? run.throw(error) : run.next()).catch(() => {}); // who asks for the next item hears of it
  };
  async function* turns(): AsyncGenerator<T, R, void> {
    const turn = await queue.enter(signal);
    const aborted = (): void => end();
    turn.onEnd = end;
    signal?.addEventListener("abort", aborted, { once: true });
    try {
      return yield* work(turn);
    } finally {
      turn.onEnd = undefined;
      signal?.removeEventListener("abort", aborted);
      turn.leave();
    }
  }
  const run = turns();
  return {
    next: () => rest.shift() ?? run.next(),
    return: () => run.return(undefined as never),
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
