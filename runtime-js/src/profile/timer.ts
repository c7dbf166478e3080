// Times compute passes: by the GPU's timestamps, or by the clock where the device has none.

export type Encode = (pass: GPUComputePassEncoder) => void;

export interface Timer {
  readonly kind: "timestamps" | "wall";
  /** The time below which a pass cannot be told from noise, in microseconds. */
  readonly shortest: number;
  /** Microseconds of each pass. */
  measure(passes: readonly Encode[]): Promise<number[]>;
  destroy(): void;
}

const SHORTEST_US = 20_000;
const PAIRS = 2048; // a query set holds 4096
const ROUNDED_TO = [65_536n, 100_000n]; // nanoseconds: as Chromium does it, and as it says

export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** The best timer of the device. Chromium rounds timestamps unless it runs with --enable-webgpu-developer-features. */
export async function openTimer(device: GPUDevice, kind?: Timer["kind"]): Promise<Timer> {
  return kind !== "wall" && device.features.has("timestamp-query") ? Stamps.open(device) : WallClock.open(device);
}

class Stamps implements Timer {
  readonly kind = "timestamps";
  shortest = 0;
  private readonly querySet: GPUQuerySet;
  private readonly resolved: GPUBuffer;
  private readonly read: GPUBuffer;

  private constructor(private readonly device: GPUDevice) {
    this.querySet = device.createQuerySet({ type: "timestamp", count: PAIRS * 2 });
    this.resolved = device.createBuffer({ size: PAIRS * 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
    this.read = device.createBuffer({ size: PAIRS * 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  }

  static async open(device: GPUDevice): Promise<Stamps> {
    const timer = new Stamps(device);
    const stamps: bigint[] = [];
    for (let i = 0; i < 4; i++) stamps.push(...(await timer.stamps([() => {}, () => {}])));
    if (ROUNDED_TO.some((step) => stamps.every((stamp) => stamp % step === 0n))) timer.shortest = SHORTEST_US;
    return timer;
  }

  async measure(passes: readonly Encode[]): Promise<number[]> {
    const spans: number[] = [];
    for (let first = 0; first < passes.length; first += PAIRS) {
      const stamps = await this.stamps(passes.slice(first, first + PAIRS));
      for (let i = 0; i < stamps.length; i += 2) spans.push(Math.max(0, Number(stamps[i + 1]! - stamps[i]!) / 1000));
    }
    return spans;
  }

  /** When each pass began and ended, in nanoseconds; all are in one submission. */
  private async stamps(passes: readonly Encode[]): Promise<bigint[]> {
    const { querySet, device, resolved, read } = this;
    const encoder = device.createCommandEncoder();
    passes.forEach((encode, i) => {
      const pass = encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 } });
      encode(pass);
      pass.end();
    });
    const bytes = passes.length * 16;
    encoder.resolveQuerySet(querySet, 0, passes.length * 2, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, read, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await read.mapAsync(GPUMapMode.READ, 0, bytes);
    const stamps = [...new BigUint64Array(read.getMappedRange(0, bytes))];
    read.unmap();
    return stamps;
  }

  destroy(): void { for (const made of [this.querySet, this.resolved, this.read]) made.destroy(); }
}

/** A submission a pass, less what an empty one takes. */
class WallClock implements Timer {
  readonly kind = "wall";
  readonly shortest = SHORTEST_US;
  private overhead = 0;
  private constructor(private readonly device: GPUDevice) {}

  static async open(device: GPUDevice): Promise<WallClock> {
    const timer = new WallClock(device);
    timer.overhead = median(await timer.measure(Array.from({ length: 9 }, () => () => {})));
    return timer;
  }

  async measure(passes: readonly Encode[]): Promise<number[]> {
    const { queue } = this.device;
    const spans: number[] = [];
    await queue.onSubmittedWorkDone();
    for (const encode of passes) {
      const start = performance.now();
      submit(this.device, encode);
      await queue.onSubmittedWorkDone();
      spans.push(Math.max(0, (performance.now() - start) * 1000 - this.overhead));
    }
    return spans;
  }

  destroy(): void {}
}

/** One pass, in a submission of its own. */
export function submit(device: GPUDevice, encode: Encode): void {
  const encoder = device.createCommandEncoder(), pass = encoder.beginComputePass();
  encode(pass);
  pass.end();
  device.queue.submit([encoder.finish()]);
}

/** Launches timed together at least, where time permits. */
const LAUNCHES = 48;
/** A pass of a chain is not made longer than the first (the second for each repeat), and a chain's repeats not longer than the third. */
const LONGEST_US = 250_000, LONGEST_A_REPEAT_US = 25_000, REPEATS_US = 1_000_000;

/** Microseconds from one launch to the next in a pass of many: the median of the repeats, of which a slow device gets fewer.
 * `encode` encodes a number of launches; `before` is called ahead of each pass; whole `rounds` of launches are timed where time permits. */
export async function chained(
  timer: Timer, encode: (pass: GPUComputePassEncoder, launches: number) => void, { repeats, rounds = 1, before = () => {} }: { repeats: number; rounds?: number; before?: () => void },
): Promise<number> {
  const time = async (count: number): Promise<number> => {
    before();
    return (await timer.measure([(pass) => encode(pass, count)]))[0]!;
  };
  const whole = (count: number): number => Math.ceil(count / rounds) * rounds;
  const longest = Math.min(LONGEST_US, repeats * LONGEST_A_REPEAT_US);
  let count = 1;
  await time(count); // the first is a warm-up
  for (;;) {
    const us = Math.max(1, await time(count));
    const wanted = Math.max(whole(LAUNCHES), us < timer.shortest ? whole((count * timer.shortest * 1.25) / us) : 0);
    const next = Math.min(wanted, count * 32, Math.floor((count * longest) / us));
    if (next <= count) break;
    count = next;
  }
  const found = [(await time(count)) / count];
  const fitting = Math.min(repeats, Math.floor(REPEATS_US / Math.max(1, found[0]! * count)));
  while (found.length < Math.max(2, fitting)) found.push((await time(count)) / count);
  return median(found);
}
