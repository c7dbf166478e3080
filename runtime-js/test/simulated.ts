// Simulates a GPU behind a browser: how long launches take, and what else a page's clock sees of them.

export interface Behaviour {
  /** Milliseconds that a submission costs, and that the clock ticks by. */
  readonly submit?: number;
  readonly tick?: number;
  /** The first run of each waits so long. */
  readonly first?: number;
  /** Some runs, by this share, are held up by so many milliseconds on average. */
  readonly held?: readonly [share: number, ms: number];
  /** Whether holding up comes in bursts of so many milliseconds. */
  readonly bursts?: number;
  /** The clock is so many times too slow at first, and rises until so many milliseconds. */
  readonly ramp?: readonly [times: number, ms: number];
  /** Each run is off by up to this share. */
  readonly jitter?: number;
}

export class SimulatedGpu {
  now = 0;
  readonly ran: number[][] = [];
  private state: number;
  private burst = { held: false, until: 0 };
  constructor(
    private readonly behaviour: Behaviour = {},
    seed = 1,
  ) {
    this.state = (seed * 2654435761) % 2 ** 32;
  }

  /** Launches that take so many milliseconds each. */
  kernel(ms: number): (launches: number) => Promise<number> {
    const ran: number[] = [];
    this.ran.push(ran);
    return async (launches) => {
      const start = this.clock();
      this.spend(ms * launches, ran.length === 0);
      ran.push(launches);
      return this.clock() - start;
    };
  }

  clock(): number {
    const { tick = 0.005 } = this.behaviour;
    this.now += 0.02 * this.random(); // the page's own work
    return Math.floor(this.now / tick) * tick;
  }

  /** A submission of so much work. */
  spend(work: number, first: boolean): void {
    const { submit = 0.15, first: waits = 0, held, ramp, jitter = 0 } = this.behaviour;
    if (first) this.now += waits;
    this.now += submit;
    for (let left = work * (1 + jitter * (2 * this.random() - 1)); left > 0; ) {
      const step = Math.min(left, 0.25),
        [times, until] = ramp ?? [1, 1];
      this.now += step * Math.max(1, times - ((times - 1) * this.now) / until);
      left -= step;
    }
    if (held && this.isHeld(held[0])) this.now -= held[1] * Math.log(1 - this.random());
  }

  private isHeld(share: number): boolean {
    const { bursts } = this.behaviour;
    if (!bursts) return this.random() < share;
    if (this.now > this.burst.until)
      this.burst = { held: this.random() < share, until: this.now + bursts * 2 * this.random() };
    return this.burst.held;
  }

  private random(): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    let x = this.state;
    x = Math.imul(x ^ (x >>> 16), 2246822507);
    x = Math.imul(x ^ (x >>> 13), 3266489909);
    return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
  }
}
