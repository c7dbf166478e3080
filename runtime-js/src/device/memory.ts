// Allocates GPU buffers under error scopes and counts them by kind; `destroy` returns all of them.
import { GpuError, OutOfMemoryError } from "../errors.js";

export type BufferKind = "weight" | "kv" | "recurrent" | "input" | "output" | "scratch" | "uniform" | "staging";
export type MemoryUse = Readonly<Record<BufferKind, number>> & { readonly total: number };

type Allocator = Pick<GPUDevice, "createBuffer" | "pushErrorScope" | "popErrorScope">;

export class Memory {
  private readonly buffers = new Map<GPUBuffer, { readonly kind: BufferKind; readonly size: number }>();
  private readonly bytes: Record<BufferKind, number> = {
    weight: 0,
    kv: 0,
    recurrent: 0,
    input: 0,
    output: 0,
    scratch: 0,
    uniform: 0,
    staging: 0,
  };
  constructor(private readonly device: Allocator) {}

  /** Runs `make`, which creates buffers with `create`; if the GPU refuses any of them, all are freed, and a typed error
   * is thrown. */
  async scoped<T>(make: () => T): Promise<T> {
    const before = new Set(this.buffers.keys());
    this.device.pushErrorScope("validation");
    this.device.pushErrorScope("out-of-memory");
    let result: T | undefined, thrown: unknown;
    try {
      result = make();
    } catch (error) {
      thrown = error ?? new Error("failed");
    }
    const made = [...this.buffers.keys()].filter((buffer) => !before.has(buffer)); // others are made meanwhile
    const [memory, validation] = await Promise.all([this.device.popErrorScope(), this.device.popErrorScope()]);
    const asked = this.use.total;
    if (memory || validation || thrown) for (const buffer of made) this.free(buffer);
    if (memory || thrown instanceof RangeError)
      throw new OutOfMemoryError(
        `The GPU has no room for the model: ${(asked / 2 ** 20).toFixed(0)} MiB were asked for.`,
      );
    if (validation) throw new GpuError(`The GPU refused a buffer: ${validation.message}`);
    if (thrown) throw thrown;
    return result as T;
  }

  create(kind: BufferKind, label: string, bytes: number, usage: number): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 4) * 4);
    const buffer = this.device.createBuffer({ label, size, usage });
    this.bytes[kind] += size;
    this.buffers.set(buffer, { kind, size });
    return buffer;
  }

  /** Destroys a buffer. Work that was submitted before still runs with it. */
  free(buffer: GPUBuffer): void {
    const entry = this.buffers.get(buffer);
    if (!entry) return;
    this.bytes[entry.kind] -= entry.size;
    this.buffers.delete(buffer);
    buffer.destroy();
  }

  get use(): MemoryUse {
    return { ...this.bytes, total: Object.values(this.bytes).reduce((a, b) => a + b, 0) };
  }

  destroy(): void {
    for (const buffer of [...this.buffers.keys()]) this.free(buffer);
  }
}
