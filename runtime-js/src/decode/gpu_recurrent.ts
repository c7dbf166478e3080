// Keeps copies of recurrent state in buffers of the GPU.
import { RECURRENT_COPIES } from "../contract/index.js";
import type { Memory } from "../device/index.js";
import type { Buffers, Plan } from "../plan/index.js";
import { type Copies, Recurrent } from "./recurrent.js";

type Copying = Pick<GPUDevice, "queue" | "createCommandEncoder">;
export type GpuRecurrent = Recurrent<GPUCommandEncoder>;

/** Of a plan that has recurrent layers. */
export async function recurrentOnGpu(
  plan: Pick<Plan, "buffers">,
  buffers: Buffers,
  memory: Pick<Memory, "create" | "scoped">,
  device: Copying,
): Promise<GpuRecurrent | undefined> {
  const states = plan.buffers.flatMap(({ kind, name }) => (kind === "recurrent" ? [buffers.get(name)!] : []));
  if (states.length === 0) return undefined;
  const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
  const copies = await memory.scoped(() =>
    Array.from({ length: RECURRENT_COPIES }, (_, slot) =>
      states.map(({ label, size }) => memory.create("recurrent", `${label} copy ${slot}`, size, usage)),
    ),
  );
  return new Recurrent(new GpuCopies(device, states, copies));
}

class GpuCopies implements Copies<GPUCommandEncoder> {
  constructor(
    private readonly device: Copying,
    private readonly states: readonly GPUBuffer[],
    private readonly copies: readonly (readonly GPUBuffer[])[],
  ) {}

  keep(slot: number, encoder?: GPUCommandEncoder): void {
    this.copy(this.states, this.copies[slot]!, encoder);
  }

  bringBack(slot: number): void {
    this.copy(this.copies[slot]!, this.states);
  }

  private copy(from: readonly GPUBuffer[], to: readonly GPUBuffer[], encoder?: GPUCommandEncoder): void {
    const own = encoder ?? this.device.createCommandEncoder({ label: "copy recurrent state" });
    for (const [i, buffer] of from.entries()) own.copyBufferToBuffer(buffer, 0, to[i]!, 0, buffer.size);
    if (!encoder) this.device.queue.submit([own.finish()]);
  }
}
