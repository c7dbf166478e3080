// Which of the plan's prefills is faster on this device: the launches that read the most weights, timed side by side.
import type { Guard } from "../device/index.js";
import type { Host } from "./host.js";
import type { Plan, PlanEntry } from "./parse.js";
import type { Pipelines } from "./pipelines.js";

/** Rows of the product that is timed: enough to fill a GPU, and few enough for a slow one. */
const ROWS = 512;
/** A run is of as many launches as take about this long, or as many ticks of the clock, but no longer than the last: a submission costs
 * something too, and Firefox's clock tells whole milliseconds. */
const RUN_MS = 10,
  RUN_TICKS = 12,
  LONGEST_RUN_MS = 100,
  MOST_LAUNCHES = 400;
/** So many runs of each at least, if one is not very slow, and no more once those after the first took so long. */
const ROUNDS = 4,
  BUDGET_MS = 800;
/** The fastest runs of one, as many as ROUNDS, agree when they differ by no more than this; else the others are out of reach when so many times
 * that difference does not bring them near. Tried on what test/simulated.ts does. */
const AGREE = 0.05,
  REACH = 4;

/** Which launch stands for an entry: of the kernel that reads the most weights in all. */
export function heaviestLaunch(plan: Pick<Plan, "buffers">, entry: Pick<PlanEntry, "launches">): number {
  const bytes = new Map<number, number>();
  for (const { kernel, args } of entry.launches) {
    const weights = args.reduce((sum, arg) => {
      const b = plan.buffers[arg]!;
      return sum + (b.kind === "weight" ? b.bytes : 0);
    }, 0);
    bytes.set(kernel, (bytes.get(kernel) ?? 0) + weights);
  }
  const most = [...bytes].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
  return entry.launches.findIndex((launch) => launch.kernel === most);
}

/** The launch of each entry that stands for it: the first's heaviest, and those that read the same weight, which in a model of several types
 * need not be the heaviest of their entries. */
export function comparedLaunches(
  plan: Pick<Plan, "buffers">,
  entries: readonly Pick<PlanEntry, "launches">[],
): number[] {
  const isWeight = (arg: number): boolean => plan.buffers[arg]!.kind === "weight";
  const first = entries[0]!,
    at = heaviestLaunch(plan, first);
  const weights = first.launches[at]!.args.filter(isWeight);
  return entries.map((entry) => {
    const same = entry.launches.findIndex(
      ({ args }) => weights.length > 0 && weights.every((weight) => args.includes(weight)),
    );
    return same >= 0 ? same : heaviestLaunch(plan, entry);
  });
}

/** Milliseconds of a launch: the fastest run's, and those of all runs that were long enough. */
export interface Measured {
  readonly ms: number;
  readonly runs: readonly number[];
}
/** `sure`: more runs would not change which is the fastest. */
export interface Comparison {
  readonly measured: readonly Measured[];
  readonly sure: boolean;
}

/** Times them in turn. A run does so many launches and says how many milliseconds all of them took, by a clock that ticks every `tick`.
 *
 * A run is never faster than the GPU is, but may be slower for reasons that have nothing to do with it: the first one's compilation, clocks
 * that have yet to rise, shaders that the browser compiles meanwhile, a page that is busy with downloads. So the fastest run counts,
 * and it is done when each of the others has shown what it can: its fastest runs agree, or are far behind. */
export async function compare(runs: readonly ((launches: number) => Promise<number>)[], tick = 0): Promise<Comparison> {
  const long = Math.min(LONGEST_RUN_MS, Math.max(RUN_MS, RUN_TICKS * tick));
  const budget = Math.max(BUDGET_MS, 2 * ROUNDS * runs.length * long);
  let spent = 0;
  const found = runs.map((run) => ({ run, launches: 1, runs: [] as number[], fastest: [] as number[] }));
  const sample = async (one: (typeof found)[number]): Promise<void> => {
    for (;;) {
      const ms = await one.run(one.launches);
      spent += ms;
      const each = ms / one.launches;
      if (ms >= long / 2 || one.launches >= MOST_LAUNCHES) {
        one.runs.push(each);
        one.fastest = [...one.fastest, each].sort((a, b) => a - b).slice(0, ROUNDS);
        // A run that something held up had too few launches: the next one has more.
        one.launches = launchesFor(long / one.fastest[0]!);
        return;
      }
      one.launches = launchesFor(Math.max(2 * one.launches, long / Math.max(each, (2 * tick) / one.launches)));
    }
  };
  const sure = (): boolean => {
    const first = Math.min(...found.map(({ fastest: [ms] }) => ms!));
    return found.every(({ fastest, launches }) => {
      const ms = fastest[0]!,
        noise = fastest.at(-1)! - ms;
      return ms === first || noise <= Math.max(AGREE * ms, (1.01 * tick) / launches) || ms - REACH * noise > first;
    });
  };
  for (let round = 1; ; round++) {
    for (let i = 0; i < found.length; i++) await sample(found[(i + round) % found.length]!);
    if (round === 1) spent = 0; // it may have waited for all that the browser had to do before
    if (round >= ROUNDS && sure()) break;
    if (round >= 2 && spent >= budget) break;
  }
  return {
    measured: found.map(({ runs: all, fastest: [ms] }) => ({ ms: ms!, runs: all })),
    sure: found.every((one) => one.runs.length >= ROUNDS) && sure(),
  };
}

/** Rows of the timed launches, where chunks have at most so many. */
export const timedRows = (chunk: number): number => Math.min(ROWS, chunk);

const launchesFor = (launches: number): number => Math.min(MOST_LAUNCHES, Math.max(1, Math.ceil(launches)));

/** Milliseconds between two values of the page's clock. */
function clockTick(): number {
  let before = performance.now(),
    ticked = 0;
  for (let i = 0; i < 200_000; i++) {
    const now = performance.now();
    if (now === before) continue;
    if (ticked++) return now - before;
    before = now;
  }
  return 17; // Firefox's, where it resists fingerprinting
}

/** Each entry's compared launch on a chunk of `timedRows`, on buffers of zeros that are destroyed again. */
export async function timeHeaviest(
  device: GPUDevice,
  guard: Guard,
  host: Host,
  plan: Plan,
  pipelines: Pipelines,
  entries: readonly PlanEntry[],
  chunk: number,
): Promise<Comparison> {
  const made: GPUBuffer[] = [];
  const create = (size: number, usage: number): GPUBuffer => {
    const buffer = device.createBuffer({ size: Math.max(16, Math.ceil(size / 16) * 16), usage });
    made.push(buffer);
    return buffer;
  };
  const shared = new Map<number, GPUBuffer>();
  const bufferOf = (arg: number): GPUBuffer => {
    let buffer = shared.get(arg);
    if (!buffer) {
      const planned = plan.buffers[arg]!;
      buffer = create(planned.kind === "kv" ? planned.pageBytes : planned.bytes, GPUBufferUsage.STORAGE);
      shared.set(arg, buffer);
    }
    return buffer;
  };
  try {
    const compared = comparedLaunches(plan, entries);
    const runs = entries.map((entry, i) => {
      const at = compared[i]!,
        { kernel, args } = entry.launches[at]!,
        { uniformWords } = plan.kernels[kernel]!;
      const table = host.launchTable(entry.launch, [timedRows(chunk)], entry.launches.length * entry.recordWords);
      const record = table.slice(at * entry.recordWords, (at + 1) * entry.recordWords);
      const uniform = create(uniformWords * 4, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
      device.queue.writeBuffer(uniform, 0, record, 3, uniformWords);
      const group = device.createBindGroup({
        layout: pipelines.groupLayout(plan.kernels[kernel]!),
        entries: [...args.map(bufferOf), uniform].map((buffer, binding) => ({ binding, resource: { buffer } })),
      });
      return async (launches: number): Promise<number> => {
        const encoder = device.createCommandEncoder(),
          pass = encoder.beginComputePass();
        pass.setPipeline(pipelines.get(kernel));
        pass.setBindGroup(0, group);
        for (let i = 0; i < launches; i++) pass.dispatchWorkgroups(record[0]!, record[1]!, record[2]!);
        pass.end();
        const commands = encoder.finish(),
          start = performance.now();
        device.queue.submit([commands]);
        await guard.race(device.queue.onSubmittedWorkDone());
        return performance.now() - start;
      };
    });
    return await compare(runs, clockTick());
  } finally {
    for (const buffer of made) buffer.destroy();
  }
}
