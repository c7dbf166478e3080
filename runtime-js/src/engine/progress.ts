// Reports a load's bytes, rate and time left, at most twenty times a second.

export interface LoadProgress {
  readonly stage: "manifest" | "weights" | "kernels" | "ready";
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** 0 to 1, over all stages. */
  readonly fraction: number;
  readonly text: string;
  readonly bytesPerSecond?: number;
  readonly secondsLeft?: number;
  /** Of the stage `kernels`: pipelines that are compiled, and all. */
  readonly pipelines?: { readonly done: number; readonly total: number };
}

const WEIGHTS_SHARE = 0.95;
const MIB = 2 ** 20;

export class Progress {
  private loaded = 0;
  private total = 0;
  private kernels = 0;
  private kernelsTotal = 1;
  private lastReport = -Infinity;
  private over = false;
  private checking = false;
  private readonly samples: { at: number; bytes: number }[] = [];

  constructor(
    private readonly report: ((progress: LoadProgress) => void) | undefined,
    private readonly now = () => performance.now(),
  ) {}

  manifest(): void {
    this.send("manifest", "Reading the manifest", true);
  }

  expect(totalBytes: number): void {
    this.total = totalBytes;
    this.samples.push({ at: this.now(), bytes: this.loaded });
  }

  bytes(count: number): void {
    if (this.checking) return; // the expected answer is no part of what is loaded
    this.loaded += count;
    this.send("weights", "", false);
  }

  kernel(done: number, total: number): void {
    this.kernels = done;
    this.kernelsTotal = Math.max(1, total);
    if (this.loaded >= this.total) this.send("kernels", `Preparing kernels: ${done} of ${total}`, false);
  }

  /** The kernels are compared with the expected answer. */
  check(): void {
    this.checking = true;
    this.send("kernels", "Checking the results", true);
  }

  ready(): void {
    this.send("ready", "Ready", true);
    this.over = true; // What is fetched later, such as the expected answer, is not part of the load.
  }

  private send(stage: LoadProgress["stage"], text: string, force: boolean): void {
    const now = this.now();
    if (!this.report || this.over) return;
    if (!force && Math.abs(now - this.lastReport) < 50 && this.loaded < this.total) return;
    this.lastReport = now;
    const bytesPerSecond = stage === "weights" ? this.rate(now) : undefined;
    const secondsLeft = bytesPerSecond ? (this.total - this.loaded) / bytesPerSecond : undefined;
    const fraction =
      stage === "ready"
        ? 1
        : this.total === 0
          ? 0
          : Math.min(1, this.loaded / this.total) * WEIGHTS_SHARE +
            (this.kernels / this.kernelsTotal) * (1 - WEIGHTS_SHARE) * 0.99;
    this.report({
      stage,
      text: text || `Fetching weights: ${(this.loaded / MIB).toFixed(1)} of ${(this.total / MIB).toFixed(1)} MiB`,
      loadedBytes: this.loaded,
      totalBytes: this.total,
      fraction,
      ...(stage === "kernels" ? { pipelines: { done: this.kernels, total: this.kernelsTotal } } : {}),
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
      ...(secondsLeft === undefined ? {} : { secondsLeft }),
    });
  }

  /** Bytes a second over the last five seconds, none of them before the clock was set back. */
  private rate(now: number): number | undefined {
    this.samples.push({ at: now, bytes: this.loaded });
    while (this.samples.length > 2 && Math.abs(now - this.samples[0]!.at) > 5000) this.samples.shift();
    const first = this.samples[0]!;
    const seconds = (now - first.at) / 1000;
    return seconds > 0.2 ? Math.max(0, this.loaded - first.bytes) / seconds : undefined;
  }
}
