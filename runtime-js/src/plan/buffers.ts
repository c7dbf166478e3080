// Allocates the plan's buffers on the GPU. The KV buffers hold as many pages as are in use, and are replaced by larger
// ones when they grow.
import type { Memory } from "../device/index.js";
import type { Plan, PlanBuffer } from "./parse.js";

export type Buffers = ReadonlyMap<string, GPUBuffer>;

const bytesOf = (buffer: PlanBuffer, pages: number): number =>
  buffer.kind === "kv" ? buffer.pageBytes * Math.min(pages, buffer.pages) : buffer.bytes;

export function largestBuffer(plan: Plan, pages: number): number {
  return plan.buffers.reduce((largest, buffer) => Math.max(largest, bytesOf(buffer, pages)), 0);
}

export class PlanBuffers {
  private constructor(
    private readonly plan: Plan,
    private readonly memory: Memory,
    private readonly buffers: Map<string, GPUBuffer>,
    private room: number,
  ) {}

  /** All buffers of the plan, the KV buffers with room for `pages`. */
  static async allocate(plan: Plan, memory: Memory, pages: number): Promise<PlanBuffers> {
    const buffers = await memory.scoped(
      () => new Map(plan.buffers.map((buffer) => [buffer.name, create(memory, buffer, pages)])),
    );
    return new PlanBuffers(plan, memory, buffers, pages);
  }

  /** By name; after `grow` the KV buffers are others. */
  get all(): Buffers {
    return this.buffers;
  }

  /** Pages that every KV buffer has room for. */
  get pages(): number {
    return this.room;
  }

  /** Gives the KV buffers room for `pages` and their content. Old and new exist together until the copy is submitted.
   * Throws OutOfMemoryError, and then nothing has changed. */
  async grow(device: Pick<GPUDevice, "queue" | "createCommandEncoder">, pages: number): Promise<void> {
    const kv = this.plan.buffers.filter((buffer) => buffer.kind === "kv");
    const larger = await this.memory.scoped(() => kv.map((buffer) => create(this.memory, buffer, pages)));
    const encoder = device.createCommandEncoder({ label: "grow the KV cache" });
    const old = kv.map((buffer) => this.buffers.get(buffer.name)!);
    for (const [i, from] of old.entries()) encoder.copyBufferToBuffer(from, 0, larger[i]!, 0, from.size);
    device.queue.submit([encoder.finish()]);
    for (const [i, buffer] of kv.entries()) this.buffers.set(buffer.name, larger[i]!);
    for (const buffer of old) this.memory.free(buffer);
    this.room = pages;
  }
}

function create(memory: Memory, buffer: PlanBuffer, pages: number): GPUBuffer {
  const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
  const both = STORAGE | COPY_DST | COPY_SRC;
  const usage = {
    weight: STORAGE | COPY_DST,
    kv: both,
    recurrent: both,
    scratch: STORAGE,
    input: both,
    output: STORAGE | COPY_SRC,
  };
  return memory.create(buffer.kind, buffer.name, bytesOf(buffer, pages), usage[buffer.kind]);
}
