// Replays an entry of the plan. Pipelines and bind groups are made once, and the words of its one uniform buffer are
// rewritten only when the dims change.
import { GRID_WORDS } from "../contract/index.js";
import type { Memory } from "../device/index.js";
import { BundleError } from "../errors.js";
import type { Buffers } from "./buffers.js";
import type { Host } from "./host.js";
import type { Plan, PlanBuffer, PlanEntry, PlanKernel } from "./parse.js";
import type { Pipelines } from "./pipelines.js";

/** A launch's operation, its kernel, and the buffers it binds. */
export interface Launched {
  readonly op: string;
  readonly kernel: PlanKernel;
  readonly buffers: readonly PlanBuffer[];
}

export class Entry {
  /** Of the last `prepare`. */
  dims: string | undefined;
  readonly name: string;
  private readonly pipelines: GPUComputePipeline[];
  private readonly groups: GPUBindGroup[];
  private readonly makeGroup: (launch: number, buffers: Buffers) => GPUBindGroup;
  private readonly bindsKv: readonly boolean[];
  private readonly grids: Uint32Array;
  private readonly uniforms: GPUBuffer;
  private readonly stride: number;
  private readonly words: number[];
  private readonly order: readonly number[];
  readonly launches: readonly Launched[];

  constructor(
    private readonly device: Pick<GPUDevice, "queue" | "limits" | "createBindGroup">,
    private readonly host: Pick<Host, "launchTable">,
    private readonly entry: PlanEntry,
    plan: Plan,
    memory: Memory,
    buffers: Buffers,
    pipelines: Pipelines,
  ) {
    this.name = entry.name;
    const kernels = entry.launches.map((launch) => plan.kernels[launch.kernel]!);
    const sizes = kernels.map((kernel) => Math.max(16, Math.ceil(kernel.uniformWords / 4) * 16));
    const align = device.limits.minUniformBufferOffsetAlignment;
    this.words = kernels.map((kernel) => kernel.uniformWords);
    this.stride = Math.ceil(Math.max(...sizes) / align) * align;
    this.uniforms = memory.create(
      "uniform",
      `${entry.name}.uniforms`,
      this.stride * kernels.length,
      GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    );
    this.grids = new Uint32Array(kernels.length * GRID_WORDS);
    this.launches = entry.launches.map((launch, i) => ({
      op: launch.op,
      kernel: kernels[i]!,
      buffers: launch.args.map((arg) => plan.buffers[arg]!),
    }));
    this.order = kernels.map((_, i) => i);
    this.pipelines = entry.launches.map((launch) => pipelines.get(launch.kernel));
    this.makeGroup = (i, from) => {
      const { args } = entry.launches[i]!;
      return device.createBindGroup({
        label: `${entry.name}[${i}] ${kernels[i]!.name}`,
        layout: pipelines.groupLayout(kernels[i]!),
        entries: [
          ...args.map((arg, binding) => ({ binding, resource: { buffer: from.get(plan.buffers[arg]!.name)! } })),
          { binding: args.length, resource: { buffer: this.uniforms, offset: i * this.stride, size: sizes[i]! } },
        ],
      });
    };
    this.groups = entry.launches.map((_, i) => this.makeGroup(i, buffers));
    this.bindsKv = entry.launches.map((launch) => launch.args.some((arg) => plan.buffers[arg]!.kind === "kv"));
  }

  /** Makes the bind groups of the launches that use KV buffers anew, after those have grown. */
  rebindKv(buffers: Buffers): void {
    this.bindsKv.forEach((binds, i) => {
      if (binds) this.groups[i] = this.makeGroup(i, buffers);
    });
  }

  /** Computes grids and uniforms for the dims, unless they are those of the last call. */
  prepare(dims: readonly number[]): void {
    const key = dims.join();
    if (key === this.dims) return;
    const { launches, recordWords, launch } = this.entry;
    const table = this.host.launchTable(launch, dims, launches.length * recordWords);
    const maxWorkgroups = this.device.limits.maxComputeWorkgroupsPerDimension;
    const uniforms = new Uint32Array((this.stride / 4) * launches.length);
    for (let i = 0; i < launches.length; i++) {
      const record = i * recordWords;
      for (let axis = 0; axis < GRID_WORDS; axis++) {
        const size = table[record + axis]!;
        if (size > maxWorkgroups)
          throw new BundleError(
            `Launch ${i} of ${this.entry.name} asks for ${size} workgroups; this GPU admits ${maxWorkgroups}.`,
          );
        this.grids[i * GRID_WORDS + axis] = size;
      }
      uniforms.set(table.subarray(record + GRID_WORDS, record + GRID_WORDS + this.words[i]!), (i * this.stride) / 4);
    }
    this.device.queue.writeBuffer(this.uniforms, 0, uniforms);
    this.dims = key;
  }

  /** Encodes the launches; `prepare` must have been called. Grids with a zero are skipped. */
  replay(pass: GPUComputePassEncoder): void {
    this.replayLaunches(pass, this.order);
  }

  /** Encodes the launches at these indices, in this order. */
  replayLaunches(pass: GPUComputePassEncoder, indices: readonly number[]): void {
    const { pipelines, groups, grids } = this;
    let current: GPUComputePipeline | undefined;
    for (const i of indices) {
      const x = grids[i * GRID_WORDS]!,
        y = grids[i * GRID_WORDS + 1]!,
        z = grids[i * GRID_WORDS + 2]!;
      if (x === 0 || y === 0 || z === 0) continue;
      const pipeline = pipelines[i]!;
      if (pipeline !== current) pass.setPipeline(pipeline);
      current = pipeline;
      pass.setBindGroup(0, groups[i]!);
      pass.dispatchWorkgroups(x, y, z);
    }
  }
}
