// One request at a time: `enter` resolves with a `leave` function when it is this caller's turn.
import { CancelledError } from "../errors.js";

export class Queue {
  private last: Promise<void> = Promise.resolve();

  async enter(signal?: AbortSignal): Promise<() => void> {
    let leave!: () => void;
    const before = this.last;
    this.last = new Promise((resolve) => (leave = resolve));
    if (!signal) {
      await before;
      return leave;
    }
    let stop!: () => void;
    const aborted = new Promise<"aborted">((resolve) => signal.addEventListener("abort", (stop = () => resolve("aborted")), { once: true }));
    const outcome = signal.aborted ? "aborted" : await Promise.race([before, aborted]);
    signal.removeEventListener("abort", stop);
    if (outcome === "aborted") {
      // Gives its place up, when it comes.
      void before.then(leave);
      throw new CancelledError("Cancelled while waiting for the request before.", signal.reason);
    }
    return leave;
  }
}
