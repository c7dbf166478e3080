// Times compute passes: by the GPU's timestamps, or by the clock where the device has none.

export type Encode = (pass: GPUComputePassEncoder) => void;

/** By what passes are timed. */
export type TimerKind = "timestamps" | "wall";

export interface Timer {
  readonly kind: TimerKind;
  /** The time below which a pass cannot be told from noise, in microseconds. */
  readonly shortest: number;
  /** Microseconds of each pass. */
  measure(passes: readonly Encode[]): Promise<number[]>;
  /** Microseconds of launches that run one after the other; undefined where this clock cannot tell them apart. */
  inOrder(launches: readonly Encode[]): Promise<InOrder | undefined>;
  destroy(): void;
}

/** "stamps": all in one pass, with a timestamp after each. "passes": in a pass each; the time between passes is left
 * out. */
export interface InOrder {
  readonly source: "stamps" | "passes";
  readonly microseconds: readonly number[];
}

/** Chromium's, behind a flag: timestamps between the launches of a pass. */
const INSIDE = "chromium-experimental-timestamp-query-inside-passes";
const SHORTEST_US = 20_000;
const PAIRS = 2048; // a query set holds 4096
const ROUNDED_TO = [65_536n, 100_000n]; // nanoseconds: as Chromium does it, and as it says

export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** Between two timestamps; clocks of GPUs are known to jump. */
const microseconds = (start: bigint, end: bigint): number => Math.max(0, Number(end - start) / 1000);

/** The best timer of the device. Chromium rounds timestamps unless it runs with --enable-webgpu-developer-features. */
export async function openTimer(device: GPUDevice, kind?: TimerKind): Promise<Timer> {
  return kind !== "wall" && device.features.has("timestamp-query") ? Stamps.open(device) : WallClock.open(device);
}

class Stamps implements Timer {
  readonly kind = "timestamps";
  shortest = 0;
  private readonly querySet: GPUQuerySet;
  private readonly resolved: GPUBuffer;
  private readonly staging: GPUBuffer;

  private constructor(private readonly device: GPUDevice) {
    this.querySet = device.createQuerySet({ type: "timestamp", count: PAIRS * 2 });
    this.resolved = device.createBuffer({
      size: PAIRS * 16,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    this.staging = device.createBuffer({ size: PAIRS * 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
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
      for (let i = 0; i < stamps.length; i += 2) spans.push(microseconds(stamps[i]!, stamps[i + 1]!));
    }
    return spans;
  }

  async inOrder(launches: readonly Encode[]): Promise<InOrder | undefined> {
    if (this.shortest > 0) return undefined;
    if (!this.device.features.has(INSIDE) || launches.length >= PAIRS * 2)
      return { source: "passes", microseconds: await this.measure(launches) };
    const stamps = await this.read(launches.length + 1, (encoder) => {
      const pass = encoder.beginComputePass() as GPUComputePassEncoder & {
        writeTimestamp(querySet: GPUQuerySet, index: number): void;
      };
      pass.writeTimestamp(this.querySet, 0);
      launches.forEach((encode, i) => {
        encode(pass);
        pass.writeTimestamp(this.querySet, i + 1);
      });
      pass.end();
    });
    return { source: "stamps", microseconds: launches.map((_, i) => microseconds(stamps[i]!, stamps[i + 1]!)) };
  }

  /** When each pass began and ended, in nanoseconds; all are in one submission. */
  private stamps(passes: readonly Encode[]): Promise<bigint[]> {
    const { querySet } = this;
    return this.read(passes.length * 2, (encoder) =>
      passes.forEach((encode, i) => {
        const pass = encoder.beginComputePass({
          timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 },
        });
        encode(pass);
        pass.end();
      }),
    );
  }

  private async read(count: number, encode: (encoder: GPUCommandEncoder) => void): Promise<bigint[]> {
    const { querySet, device, resolved, staging } = this;
    const encoder = device.createCommandEncoder();
    encode(encoder);
    encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, count * 8);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ, 0, count * 8);
    const stamps = [...new BigUint64Array(staging.getMappedRange(0, count * 8))];
    staging.unmap();
    return stamps;
  }

  destroy(): void {
    for (const resource of [this.querySet, this.resolved, this.staging]) resource.destroy();
  }
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

  async inOrder(): Promise<undefined> {}

  destroy(): void {}
}

/** One pass, in a submission of its own. */
export function submit(device: GPUDevice, encode: Encode): void {
  const encoder = device.createCommandEncoder(),
    pass = encoder.beginComputePass();
  encode(pass);
  pass.end();
  device.queue.submit([encoder.finish()]);
}

/** The fewest launches of a pass, where time permits. */
const LAUNCHES = 48;
/** A pass of a chain takes at most LONGEST_US, and LONGEST_A_REPEAT_US for each repeat; all repeats take at most
 * REPEATS_US. */
const LONGEST_US = 250_000,
  LONGEST_A_REPEAT_US = 25_000,
  REPEATS_US = 1_000_000;

/** Microseconds from one launch to the next in a pass of many: the median of the repeats, of which a slow device gets
 * fewer. `encode` encodes a number of launches; `before` is called ahead of each pass; whole `rounds` of launches are
 * timed where time permits. */
export async function chained(
  timer: Timer,
  encode: (pass: GPUComputePassEncoder, launches: number) => void,
  { repeats, rounds = 1, before = () => {} }: { repeats: number; rounds?: number; before?: () => void },
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
  const samples = [(await time(count)) / count];
  const fitting = Math.min(repeats, Math.floor(REPEATS_US / Math.max(1, samples[0]! * count)));
  while (samples.length < Math.max(2, fitting)) samples.push((await time(count)) / count);
  return median(samples);
}
