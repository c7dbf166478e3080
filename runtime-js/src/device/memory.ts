// Allocates GPU buffers under error scopes and counts them by kind; `destroy` returns all of them.
import { GpuError, OutOfMemoryError } from "../errors.js";

export type BufferKind = "weight" | "kv" | "input" | "output" | "scratch" | "uniform" | "staging";
export type MemoryUse = Readonly<Record<BufferKind, number>> & { readonly total: number };

type Allocator = Pick<GPUDevice, "createBuffer" | "pushErrorScope" | "popErrorScope">;

export class Memory {
  private readonly buffers = new Set<GPUBuffer>();
  private readonly bytes: Record<BufferKind, number> = { weight: 0, kv: 0, input: 0, output: 0, scratch: 0, uniform: 0, staging: 0 };
  constructor(private readonly device: Allocator) {}

  /** Runs `make`, which creates buffers with `create`, and throws a typed error if the GPU refused any of them. */
  async scoped<T>(make: () => T): Promise<T> {
    this.device.pushErrorScope("validation");
    this.device.pushErrorScope("out-of-memory");
    let result: T | undefined, thrown: unknown;
    try { result = make(); } catch (error) { thrown = error ?? new Error("failed"); }
    const [memory, validation] = await Promise.all([this.device.popErrorScope(), this.device.popErrorScope()]);
    const asked = Object.values(this.bytes).reduce((a, b) => a + b, 0);
    if (memory || thrown instanceof RangeError) throw new OutOfMemoryError(`The GPU has no room for the model: ${(asked / 2 ** 20).toFixed(0)} MiB were asked for.`);
    if (validation) throw new GpuError(`The GPU refused a buffer: ${validation.message}`);
    if (thrown) throw thrown;
    return result as T;
  }

  create(kind: BufferKind, label: string, bytes: number, usage: number): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 4) * 4);
    this.bytes[kind] += size;
    const buffer = this.device.createBuffer({ label, size, usage });
    this.buffers.add(buffer);
    return buffer;
  }

  get use(): MemoryUse {
    return { ...this.bytes, total: Object.values(this.bytes).reduce((a, b) => a + b, 0) };
  }

  destroy(): void {
    for (const buffer of this.buffers) buffer.destroy();
    this.buffers.clear();
    for (const kind of Object.keys(this.bytes) as BufferKind[]) this.bytes[kind] = 0;
  }
}
