// A thread's instance of the kernels: it calls a launch's kernel for a range of its grid.
import { GRID_WORDS } from "../contract/index.js";
import { BundleError } from "../errors.js";
import type { Plan, PlanEntry } from "../plan/index.js";
import type { Layout } from "./layout.js";

/** A plan's entries, by the indices that threads know them by: those of an answer, or that of whole texts. */
export function runEntries({ texts, entries }: Pick<Plan, "texts" | "entries">): readonly PlanEntry[] {
  return texts ? [texts] : [entries.prefill, entries.decode];
}
export const PREFILL = 0,
  DECODE = 1,
  TEXTS = 0;

type Kernel = (...numbers: number[]) => unknown;
interface Call {
  readonly kernel: Kernel;
  /** Addresses, then numbers from the launch table, then the range. */
  readonly numbers: number[];
  readonly addresses: number;
}

/** An entry, ready to run with the table's grids and numbers. */
export class EntryCalls {
  private readonly calls: Call[];
  readonly launches: number;

  constructor(
    exports: WebAssembly.Exports,
    plan: Plan,
    private readonly entry: PlanEntry,
    { places }: Layout,
    private readonly table: Uint32Array,
  ) {
    this.launches = entry.launches.length;
    this.calls = entry.launches.map(({ kernel: k, args }) => {
      const { name, uniformWords } = plan.kernels[k]!;
      const kernel = exports[name];
      if (typeof kernel !== "function") throw new BundleError(`The CPU's kernels have no ${name}.`);
      // the uniform's last word is the grid, which the range replaces
      const addresses = args.map((arg) => places[arg]!);
      const numbers = [...addresses, ...new Array<number>(uniformWords - 1).fill(0), 0, 0];
      return { kernel: kernel as Kernel, numbers, addresses: addresses.length };
    });
  }

  /** What the launch's grid has; 0 is skipped. */
  grid(launch: number): number {
    return this.table[launch * this.entry.recordWords]!;
  }

  /** Reads the table's numbers. */
  prepare(): void {
    this.calls.forEach(({ numbers, addresses }, launch) => {
      const record = launch * this.entry.recordWords + GRID_WORDS;
      for (let i = addresses; i < numbers.length - 2; i++) numbers[i] = this.table[record + i - addresses]! | 0;
    });
  }

  call(launch: number, begin: number, end: number): void {
    const { kernel, numbers } = this.calls[launch]!;
    numbers[numbers.length - 2] = begin;
    numbers[numbers.length - 1] = end;
    kernel(...numbers);
  }
}

/** An instance whose stack ends at `stack`, or where the module has it. */
export async function instantiate(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  stack?: number,
): Promise<WebAssembly.Exports> {
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
  const pointer = exports.__stack_pointer;
  if (!(pointer instanceof WebAssembly.Global)) throw new BundleError("The CPU's kernels export no __stack_pointer.");
  if (stack !== undefined) pointer.value = stack;
  return exports;
}
