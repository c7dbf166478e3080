// Shares an entry's launches among threads. Each launch is cut into pieces, which threads take as they are free; a
// launch begins when the one before it is done. A thread that waits looks for a while, then sleeps.
import type { EntryCalls } from "./instance.js";

/** Words of the control: the number of the job, its entry, arrivals at barriers, sleepers, then pieces taken of each
 * launch. */
const JOB = 0,
  ENTRY = 1,
  ARRIVED = 2,
  SLEEPERS = 3,
  TAKEN = 4;
export const controlWords = (launches: number): number => TAKEN + launches;

/** Pieces for each thread: a thread that another program holds up is waited for less. */
const PIECES = 4;
/** Looks before a thread sleeps, about as long as a small launch takes. */
const LOOKS = 4000;

export class Team {
  /** Arrivals at the last barrier that this thread has seen; it wraps, as the word does. */
  private target = 0;
  private job = 0;

  /** `control` is shared where there is more than one thread. */
  constructor(
    private readonly control: Int32Array,
    private readonly threads: number,
    private readonly entries: readonly EntryCalls[],
  ) {}

  /** The first thread's: runs an entry, with the others. */
  run(entry: number): void {
    const calls = this.entries[entry]!;
    const { control, threads } = this;
    if (threads > 1) {
      control.fill(0, TAKEN, TAKEN + calls.launches);
      Atomics.store(control, ENTRY, entry);
      Atomics.add(control, JOB, 1);
      Atomics.notify(control, JOB);
    }
    this.work(calls, true);
  }

  /** Another thread's, which never returns. */
  help(): never {
    const { control } = this;
    for (;;) {
      this.wait(JOB, () => Atomics.load(control, JOB) !== this.job);
      this.job = (this.job + 1) | 0;
      this.work(this.entries[Atomics.load(control, ENTRY)]!, false);
    }
  }

  private work(calls: EntryCalls, first: boolean): void {
    const { control, threads } = this;
    calls.prepare();
    let before: "alone" | "shared" = "alone";
    for (let launch = 0; launch < calls.launches; launch++) {
      const grid = calls.grid(launch);
      if (grid === 0) continue;
      if (grid === 1 || threads === 1) {
        // the first thread does it, after what all did
        if (before === "shared") this.meet();
        before = "alone";
        if (first) calls.call(launch, 0, grid);
        continue;
      }
      this.meet();
      before = "shared";
      const pieces = Math.min(grid, PIECES * threads);
      for (let piece = Atomics.add(control, TAKEN + launch, 1); piece < pieces; ) {
        calls.call(launch, Math.floor((grid * piece) / pieces), Math.floor((grid * (piece + 1)) / pieces));
        piece = Atomics.add(control, TAKEN + launch, 1);
      }
    }
    // The next job's table is written when nobody reads this one's.
    if (threads > 1) this.meet();
  }

  /** Waits until all threads are here. */
  private meet(): void {
    const { control, threads } = this;
    this.target = (this.target + threads) | 0;
    const here = (Atomics.add(control, ARRIVED, 1) + 1) | 0;
    if (here === this.target) {
      if (Atomics.load(control, SLEEPERS) > 0) Atomics.notify(control, ARRIVED);
      return;
    }
    this.wait(ARRIVED, () => ((Atomics.load(control, ARRIVED) - this.target) | 0) >= 0);
  }

  private wait(word: number, over: () => boolean): void {
    const { control } = this;
    for (let look = 0; look < LOOKS; look++) if (over()) return;
    Atomics.add(control, SLEEPERS, 1);
    for (let seen = Atomics.load(control, word); !over(); seen = Atomics.load(control, word))
      Atomics.wait(control, word, seen);
    Atomics.sub(control, SLEEPERS, 1);
  }
}
