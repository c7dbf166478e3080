// Times the plan's prefills on this device, each by one launch: a product with the same weights.
import { GRID_WORDS } from "../contract/index.js";
import type { Guard } from "../device/index.js";
import type { Host } from "./host.js";
import { type Comparison, clockTick, type Run, timeInTurn } from "./measure.js";
import type { Plan, PlanEntry } from "./parse.js";
import type { Pipelines } from "./pipelines.js";

/** Rows of the product that is timed: enough to fill a GPU, and few enough for a slow one. */
const ROWS = 512;

/** Rows of the timed launches, where chunks have at most `chunk`. */
export const timedRows = (chunk: number): number => Math.min(ROWS, chunk);

/** Operations that read a row for each token, or multiply the last token alone, whatever a prefill computes with. */
const FEW_ROWS = /^(head|(.+_)?embed)$/;

/** The index of the launch whose kernel multiplies all tokens with the most weights in all launches of the entry. */
export function heaviestLaunch(plan: Pick<Plan, "buffers">, entry: Pick<PlanEntry, "launches">): number {
  const bytes = new Map<number, number>();
  const products = entry.launches.filter(({ op }) => !FEW_ROWS.test(op));
  for (const { kernel, args } of products.length ? products : entry.launches) {
    const weights = args.reduce((sum, arg) => {
      const b = plan.buffers[arg]!;
      return sum + (b.kind === "weight" ? b.bytes : 0);
    }, 0);
    bytes.set(kernel, (bytes.get(kernel) ?? 0) + weights);
  }
  const heaviest = [...bytes].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
  return entry.launches.findIndex((launch) => launch.kernel === heaviest);
}

/** The index of the launch that stands for each entry: the first's heaviest, and the others' that reads the same
 * weight. In a model of several types the latter need not be the heaviest of its entry. */
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

/** What timing needs of an opened GPU. */
export interface TimedGpu {
  readonly device: GPUDevice;
  readonly guard: Guard;
  readonly host: Host;
  readonly pipelines: Pipelines;
}

/** Times each entry's compared launch on `timedRows` rows, on buffers of zeros that are destroyed afterwards. */
export async function timeLaunches(
  gpu: TimedGpu,
  plan: Plan,
  entries: readonly PlanEntry[],
  chunk: number,
): Promise<Comparison> {
  const created: GPUBuffer[] = [];
  const create: CreateBuffer = (bytes, usage) => {
    const buffer = gpu.device.createBuffer({ size: Math.max(16, Math.ceil(bytes / 16) * 16), usage });
    created.push(buffer);
    return buffer;
  };
  const shared = new Map<number, GPUBuffer>();
  const bufferOf = (arg: number): GPUBuffer => {
    const planned = plan.buffers[arg]!;
    const bytes = planned.kind === "kv" ? planned.pageBytes : planned.bytes;
    const buffer = shared.get(arg) ?? create(bytes, GPUBufferUsage.STORAGE);
    shared.set(arg, buffer);
    return buffer;
  };
  try {
    const compared = comparedLaunches(plan, entries);
    const runs = entries.map((entry, i) =>
      launchRun(gpu, plan, entry, compared[i]!, timedRows(chunk), create, bufferOf),
    );
    return await timeInTurn(runs, clockTick());
  } finally {
    for (const buffer of created) buffer.destroy();
  }
}

type CreateBuffer = (bytes: number, usage: number) => GPUBuffer;

/** A run of one launch of the entry, as often as it is told. */
function launchRun(
  { device, guard, host, pipelines }: TimedGpu,
  plan: Plan,
  entry: PlanEntry,
  at: number,
  rows: number,
  create: CreateBuffer,
  bufferOf: (arg: number) => GPUBuffer,
): Run {
  const { kernel, args } = entry.launches[at]!;
  const { uniformWords } = plan.kernels[kernel]!;
  const table = host.launchTable(entry.launch, [rows], entry.launches.length * entry.recordWords);
  const record = table.slice(at * entry.recordWords, (at + 1) * entry.recordWords);
  const uniform = create(uniformWords * 4, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
  device.queue.writeBuffer(uniform, 0, record, GRID_WORDS, uniformWords);
  const group = device.createBindGroup({
    layout: pipelines.groupLayout(plan.kernels[kernel]!),
    entries: [...args.map(bufferOf), uniform].map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  return async (launches) => {
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
}
