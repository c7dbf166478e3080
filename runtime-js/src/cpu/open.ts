// Opens the CPU's tier: compiles its kernels, and starts its threads.
import type { WeightSink } from "../bundle/index.js";
import { RECURRENT_COPIES } from "../contract/index.js";
import type { MemoryUse } from "../device/index.js";
import { BundleError } from "../errors.js";
import type { Plan } from "../plan/index.js";
import { canShareMemory } from "./features.js";
import { bytesOf } from "./layout.js";
import { Link } from "./link.js";
import { CpuModel, type CpuSizes } from "./model.js";
import { withSharedMemory } from "./shared_memory.js";
import { CpuTextCalls } from "./text_calls.js";

export interface CpuParts {
  readonly plan: Plan;
  readonly kernels: Uint8Array<ArrayBuffer>;
  readonly host: Uint8Array<ArrayBuffer>;
  /** KV pages of a whole context. */
  readonly pages: number;
  readonly threads: number | undefined;
  readonly sizes: CpuSizes;
}

/** More threads than these wait for memory, and for each other. */
const MOST_THREADS = 8;

export class Cpu {
  /** Of a plan that answers. */
  readonly model: CpuModel | undefined;
  /** Of a plan of whole texts. */
  readonly textCalls: CpuTextCalls;

  constructor(
    readonly link: Link,
    readonly threads: number,
    private readonly parts: CpuParts,
  ) {
    this.model = parts.plan.texts ? undefined : new CpuModel(link, parts.plan, parts.sizes);
    this.textCalls = new CpuTextCalls(link);
  }

  /** Where weights go. */
  get sink(): WeightSink {
    const { link } = this;
    return {
      ready: async () => link.check(),
      write(tensor, offset, bytes) {
        link.check();
        const own = bytes.slice(); // the caller reuses its memory
        link.call("write", [tensor, offset, own], [own.buffer]).catch(() => {});
      },
      flushed: () => link.call("done"),
    };
  }

  /** Bytes by kind: of the KV cache, those of a whole context. */
  get memory(): MemoryUse {
    const use = { weight: 0, kv: 0, recurrent: 0, input: 0, output: 0, scratch: 0, uniform: 0, staging: 0 };
    for (const buffer of this.parts.plan.buffers) {
      const copies = buffer.kind === "recurrent" ? 1 + RECURRENT_COPIES : 1;
      use[buffer.kind] += copies * bytesOf(buffer, this.parts.pages);
    }
    return { ...use, total: Object.values(use).reduce((a, b) => a + b, 0) };
  }
}

/** Rejects with a typed error, and then no thread is left. */
export async function openCpu(parts: CpuParts): Promise<Cpu> {
  const link = new Link();
  try {
    await link.start();
    const threads = link.beside ? threadsFor(parts.threads) : 1;
    const bytes = threads > 1 ? withSharedMemory(parts.kernels) : parts.kernels;
    const kernels = await compile(bytes);
    const opening = { plan: parts.plan, kernels, host: parts.host, pages: parts.pages, threads };
    const { layout, memory } = await link.call("open", [opening]);
    const helpers = Array.from({ length: threads - 1 }, (_, i) => i + 1);
    await Promise.all(helpers.map((thread) => link.help({ opening, layout, memory: memory!, thread })));
    return new Cpu(link, threads, parts);
  } catch (error) {
    link.close();
    throw error;
  }
}

/** As many as asked for, or as the device has; one where threads cannot share memory. */
function threadsFor(asked: number | undefined): number {
  if (!canShareMemory()) return 1;
  return asked ?? Math.max(1, Math.min(MOST_THREADS, globalThis.navigator?.hardwareConcurrency ?? 1));
}

async function compile(bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    throw new BundleError(
      `The kernels of the CPU's tier cannot be loaded: ${(cause as Error).message}`,
      "If the page has a Content-Security-Policy, it must allow 'wasm-unsafe-eval'; " +
        "otherwise compile the bundle again.",
      { cause },
    );
  }
}
