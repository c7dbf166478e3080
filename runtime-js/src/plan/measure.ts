// Which of the plan's prefills is faster on this device: the launches that read the most weights, timed side by side.
import type { Guard } from "../device/index.js";
import type { Host } from "./host.js";
import type { Plan, PlanEntry } from "./parse.js";
import type { Pipelines } from "./pipelines.js";

/** Rows of the product that is timed: enough to fill a GPU, and few enough for a slow one. */
const ROWS = 512;
/** What counts is the best run of as many launches as take about this long, or of this many: a submission costs something too, and
 * Firefox's clock tells whole milliseconds. */
const RUN_MS = 6, REPEATS = 2, MOST_LAUNCHES = 200;
/** Where one launch takes longer than this, it is measured enough. */
const SLOW_MS = 50;

/** Which launch stands for an entry: of the kernel that reads the most weights in all. */
export function heaviestLaunch(plan: Pick<Plan, "buffers">, entry: Pick<PlanEntry, "launches">): number {
  const bytes = new Map<number, number>();
  for (const { kernel, args } of entry.launches) {
    const weights = args.reduce((sum, arg) => { const b = plan.buffers[arg]!; return sum + (b.kind === "weight" ? b.bytes : 0); }, 0);
    bytes.set(kernel, (bytes.get(kernel) ?? 0) + weights);
  }
  const most = [...bytes].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
  return entry.launches.findIndex((launch) => launch.kernel === most);
}

/** Milliseconds of a launch of each; a run does so many launches, and says how many milliseconds all of them took. */
export async function compare(runs: readonly ((launches: number) => Promise<number>)[]): Promise<number[]> {
  const found: { run: (launches: number) => Promise<number>; launches: number; best: number }[] = [];
  for (const run of runs) {
    let launches = 1, ms = await run(launches);
    while (ms < 0.8 * RUN_MS && launches < MOST_LAUNCHES) {
      launches = Math.min(MOST_LAUNCHES, Math.max(2 * launches, Math.ceil((launches * RUN_MS) / Math.max(ms, 1))));
      ms = await run(launches);
    }
    found.push({ run, launches, best: ms / launches });
  }
  // In turn, so that a GPU that raises its clocks meanwhile does so for all.
  for (let i = 0; i < REPEATS; i++) {
    for (const one of found) if (one.best < SLOW_MS) one.best = Math.min(one.best, (await one.run(one.launches)) / one.launches);
  }
  return found.map(({ best }) => best);
}

/** Milliseconds of each entry's heaviest launch, on buffers of zeros that are destroyed again. */
export async function timeHeaviest(device: GPUDevice, guard: Guard, host: Host, plan: Plan, pipelines: Pipelines, entries: readonly PlanEntry[], chunk: number): Promise<number[]> {
  const made: GPUBuffer[] = [];
  const create = (size: number, usage: number): GPUBuffer => {
    const buffer = device.createBuffer({ size: Math.max(16, Math.ceil(size / 16) * 16), usage });
    made.push(buffer);
    return buffer;
  };
  const shared = new Map<number, GPUBuffer>();
  const bufferOf = (arg: number): GPUBuffer => {
    let buffer = shared.get(arg);
    const { [arg]: planned } = plan.buffers;
    if (!buffer) shared.set(arg, (buffer = create(planned!.kind === "kv" ? planned!.pageBytes : planned!.bytes, GPUBufferUsage.STORAGE)));
    return buffer;
  };
  try {
    const runs = entries.map((entry) => {
      const at = heaviestLaunch(plan, entry), { kernel, args } = entry.launches[at]!, { uniformWords } = plan.kernels[kernel]!;
      const table = host.launchTable(entry.launch, [Math.min(ROWS, chunk)], entry.launches.length * entry.recordWords);
      const record = table.slice(at * entry.recordWords, (at + 1) * entry.recordWords);
      const uniform = create(uniformWords * 4, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
      device.queue.writeBuffer(uniform, 0, record, 3, uniformWords);
      const group = device.createBindGroup({
        layout: pipelines.groupLayout(plan.kernels[kernel]!),
        entries: [...args.map(bufferOf), uniform].map((buffer, binding) => ({ binding, resource: { buffer } })),
      });
      return async (launches: number): Promise<number> => {
        const encoder = device.createCommandEncoder(), pass = encoder.beginComputePass();
        pass.setPipeline(pipelines.get(kernel));
        pass.setBindGroup(0, group);
        for (let i = 0; i < launches; i++) pass.dispatchWorkgroups(record[0]!, record[1]!, record[2]!);
        pass.end();
        const start = performance.now();
        device.queue.submit([encoder.finish()]);
        await guard.race(device.queue.onSubmittedWorkDone());
        return performance.now() - start;
      };
    });
    return await compare(runs);
  } finally {
    for (const buffer of made) buffer.destroy();
  }
}
