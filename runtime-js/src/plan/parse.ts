// plan.<tier>.json (docs/bundle-format.md), parsed as hostile input and checked against the manifest.
import { array, check, integer, object, oneOf, text } from "../bundle/fields.js";
import type { Manifest } from "../bundle/manifest.js";
import type { Needs } from "../device/index.js";
import { BundleError } from "../errors.js";

export const SHARED = ["tokens", "state", "page_table", "sampling", "logits"] as const;
const BINDINGS = ["read-only-storage", "storage", "uniform"] as const;
const READS = ["window", "experts", "choices"] as const;
const KINDS = ["weight", "kv", "input", "output", "scratch"] as const;
const ENTRIES = { prefill: ["n"], prefill_int8: ["n"], prefill_matrix: ["n"], decode: [], sample: [] } as const;
export type EntryName = keyof typeof ENTRIES;

export type PlanBuffer =
  | { readonly name: string; readonly kind: "weight" | "input" | "output" | "scratch"; readonly bytes: number }
  | { readonly name: string; readonly kind: "kv"; readonly pageBytes: number; readonly pages: number };
export interface PlanKernel {
  readonly name: string;
  readonly bindings: readonly (typeof BINDINGS)[number][];
  readonly uniformWords: number;
  readonly reads?: Reads;
}
/** What of its buffers a kernel reads, where that is not all: of the KV cache each query's last `window` tokens, of
 * `experts` those that a token chose, which are `choices`. */
export interface Reads {
  readonly window?: number;
  readonly experts?: number;
  readonly choices?: number;
}
export interface PlanEntry {
  readonly name: EntryName;
  readonly dims: readonly string[];
  readonly launch: string;
  readonly recordWords: number;
  readonly launches: readonly { readonly kernel: number; readonly args: readonly number[] }[];
}
export interface Plan {
  readonly tier: string;
  readonly buffers: readonly PlanBuffer[];
  readonly kernels: readonly PlanKernel[];
  /** What `prefill` does, `prefill_int8` does with activations rounded to int8, and `prefill_matrix` on subgroup
   * matrices, where the device has what it needs. */
  readonly entries: Readonly<
    Record<"prefill" | "decode" | "sample", PlanEntry> & {
      prefill_int8: PlanEntry | undefined;
      prefill_matrix: (PlanEntry & { readonly needs: Needs }) | undefined;
    }
  >;
}

/** The kernels that an entry launches. */
export function kernelsOf(entry: PlanEntry): Set<number> {
  return new Set(entry.launches.map((launch) => launch.kernel));
}

export function parsePlan(source: string, manifest: Manifest): Plan {
  let json: unknown;
  try {
    json = JSON.parse(source);
  } catch (cause) {
    throw new BundleError("The plan is not JSON.", undefined, { cause });
  }
  const top = object(json, "plan");
  const buffers = array(top.buffers, "plan.buffers", 100_000).map((item, i) =>
    parseBuffer(item, `plan.buffers[${i}]`, manifest),
  );
  check(new Set(buffers.map((b) => b.name)).size === buffers.length, "plan.buffers", "has two buffers of one name");
  const kernels = array(top.kernels, "plan.kernels", 10_000).map((item, i) => parseKernel(item, `plan.kernels[${i}]`));
  check(new Set(kernels.map((k) => k.name)).size === kernels.length, "plan.kernels", "has two kernels of one name");
  const entries = object(top.entries, "plan.entries");
  const entry = (name: EntryName): PlanEntry => parseEntry(name, entries[name], buffers.length, kernels);
  checkShared(buffers, manifest);
  return {
    tier: text(top.tier, "plan.tier"),
    buffers,
    kernels,
    entries: {
      prefill: entry("prefill"),
      prefill_int8: entries.prefill_int8 === undefined ? undefined : entry("prefill_int8"),
      prefill_matrix:
        entries.prefill_matrix === undefined
          ? undefined
          : {
              ...entry("prefill_matrix"),
              needs: parseNeeds(
                object(entries.prefill_matrix, "plan.entries.prefill_matrix").needs,
                "plan.entries.prefill_matrix.needs",
              ),
            },
      decode: entry("decode"),
      sample: entry("sample"),
    },
  };
}

function parseBuffer(item: unknown, path: string, manifest: Manifest): PlanBuffer {
  const buffer = object(item, path);
  const name = text(buffer.name, `${path}.name`);
  const kind = oneOf(buffer.kind, `${path}.kind`, KINDS);
  if (kind === "kv") {
    return {
      name,
      kind,
      pageBytes: integer(buffer.page_bytes, `${path}.page_bytes`, 4),
      pages: integer(buffer.pages, `${path}.pages`, 1, 2 ** 24),
    };
  }
  const bytes = integer(buffer.bytes, `${path}.bytes`, 1, 2 ** 40);
  if (kind === "weight") {
    const tensor = manifest.tensors.get(name);
    check(tensor !== undefined, path, `binds ${name}, which weights.tensors does not have`);
    check(
      Math.ceil(bytes / 4) === Math.ceil(tensor.bytes / 4),
      `${path}.bytes`,
      `is not the size of the tensor ${name}`,
    );
  }
  return { name, kind, bytes };
}

function parseKernel(item: unknown, path: string): PlanKernel {
  const kernel = object(item, path);
  const name = text(kernel.name, `${path}.name`);
  check(/^[A-Za-z_][A-Za-z0-9_]*$/.test(name), `${path}.name`, "is not a WGSL identifier");
  const bindings = array(kernel.bindings, `${path}.bindings`, 64).map((b, i) =>
    oneOf(b, `${path}.bindings[${i}]`, BINDINGS),
  );
  check(
    bindings.indexOf("uniform") === bindings.length - 1 && bindings.length > 0,
    `${path}.bindings`,
    "must end with its one uniform",
  );
  const reads =
    kernel.reads === undefined
      ? undefined
      : Object.fromEntries(
          Object.entries(object(kernel.reads, `${path}.reads`)).map(([key, value]) => [
            oneOf(key, `${path}.reads`, READS),
            integer(value, `${path}.reads.${key}`, 1, 2 ** 24),
          ]),
        );
  return {
    name,
    bindings,
    uniformWords: integer(kernel.uniform_words, `${path}.uniform_words`, 0, 64),
    ...(reads && { reads }),
  };
}

function parseEntry(name: EntryName, item: unknown, buffers: number, kernels: readonly PlanKernel[]): PlanEntry {
  const path = `plan.entries.${name}`;
  const entry = object(item, path);
  const dims = array(entry.dims, `${path}.dims`, 8).map((d, i) => text(d, `${path}.dims[${i}]`));
  check(dims.join() === ENTRIES[name].join(), `${path}.dims`, `must be ${JSON.stringify(ENTRIES[name])}`);
  check(
    name === "prefill_matrix" || entry.needs === undefined,
    `${path}.needs`,
    "is of an entry that every device of the tier must run",
  );
  const recordWords = integer(entry.record_words, `${path}.record_words`, 3, 67);
  const launches = array(entry.launches, `${path}.launches`, 100_000).map((launch, i) => {
    const at = `${path}.launches[${i}]`;
    const { kernel: k, args: a } = object(launch, at);
    const kernel = integer(k, `${at}.kernel`, 0, kernels.length - 1);
    const args = array(a, `${at}.args`, 64).map((arg, j) => integer(arg, `${at}.args[${j}]`, 0, buffers - 1));
    check(args.length === kernels[kernel]!.bindings.length - 1, `${at}.args`, "does not match the kernel's bindings");
    check(kernels[kernel]!.uniformWords <= recordWords - 3, at, "needs more uniform words than the record has");
    return { kernel, args };
  });
  check(launches.length > 0, `${path}.launches`, "is empty");
  return { name, dims, launch: text(entry.launch, `${path}.launch`), recordWords, launches };
}

function parseNeeds(item: unknown, path: string): Needs {
  const needs = object(item, path),
    matrix = object(needs.subgroup_matrix, `${path}.subgroup_matrix`);
  const side = (key: string): number => integer(matrix[key], `${path}.subgroup_matrix.${key}`, 1, 256);
  return {
    features: array(needs.features, `${path}.features`, 64).map((f, i) => text(f, `${path}.features[${i}]`)),
    limits: new Map(
      Object.entries(object(needs.limits, `${path}.limits`)).map(([k, v]) => [k, integer(v, `${path}.limits.${k}`)]),
    ),
    subgroupSize: integer(needs.subgroup_size, `${path}.subgroup_size`, 1, 128),
    subgroupMatrix: {
      component: text(matrix.component, `${path}.subgroup_matrix.component`),
      result: text(matrix.result, `${path}.subgroup_matrix.result`),
      m: side("m"),
      n: side("n"),
      k: side("k"),
    },
  };
}

function checkShared(buffers: readonly PlanBuffer[], manifest: Manifest): void {
  const { vocab_size, prefill_chunk } = manifest.model;
  const pages = Math.max(1, ...buffers.map((b) => (b.kind === "kv" ? b.pages : 0)));
  const sizes = { tokens: 4 * prefill_chunk, state: 32, page_table: 4 * pages, sampling: 32, logits: 4 * vocab_size };
  for (const name of SHARED) {
    const buffer = buffers.find((b) => b.name === name);
    check(
      buffer !== undefined && buffer.kind !== "kv" && buffer.kind !== "weight",
      "plan.buffers",
      `has no ${name} buffer`,
    );
    check(
      buffer.bytes >= sizes[name],
      "plan.buffers",
      `has a ${name} buffer of ${buffer.bytes} bytes, where ${sizes[name]} are needed`,
    );
  }
}
