// Reads GPU buffers back, through staging buffers that are kept for the next time.
import type { Guard } from "./guard.js";
import type { Memory } from "./memory.js";

export class Readbacks {
  /** By their size. */
  private readonly free: Record<number, GPUBuffer[]> = {};

  constructor(
    private readonly guard: Guard,
    private readonly memory: Memory,
  ) {}

  /** A buffer of so many bytes for copies, which `read` gives back. */
  staging(bytes: number): GPUBuffer {
    return (
      this.free[bytes]?.pop() ??
      this.memory.create("staging", "readback", bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST)
    );
  }

  /** The first bytes of a staging buffer whose copies are submitted. It is asked for at once: the answer is then under
   * way while later work runs. */
  async read(staging: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    const mapped = staging.mapAsync(GPUMapMode.READ, 0, bytes);
    mapped.catch(() => {}); // the guard may know better why
    await this.guard.race(mapped);
    const copy = staging.getMappedRange(0, bytes).slice(0);
    staging.unmap();
    this.free[staging.size] = [...(this.free[staging.size] ?? []), staging];
    return copy;
  }
}
