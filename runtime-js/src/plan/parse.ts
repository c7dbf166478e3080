// Parses plan.<tier>.json (docs/bundle-format.md) as hostile input, and checks it against the manifest.
import type { Manifest } from "../bundle/manifest.js";
import {
  Axes,
  type Binding,
  type Buffer,
  type BufferKind,
  check,
  DTYPE_BYTES,
  ENTRIES,
  type Entry,
  type EntryName,
  GRID_WORDS,
  type ImageBuffer,
  type Kernel,
  type Launch,
  Place,
  type PlanDocument,
  planDocument,
  type Reads,
  Sampling,
  type SharedBuffer,
  Spot,
  State,
} from "../contract/index.js";
import type { Needs } from "../device/index.js";
import { isCpuTier } from "../device/tier.js";
import { mostPatches, mostRows } from "../images/facts.js";

export type { EntryName, Reads } from "../contract/index.js";

export type PlanBuffer =
  | { readonly name: string; readonly kind: BufferKind; readonly bytes: number }
  | { readonly name: string; readonly kind: "kv"; readonly pageBytes: number; readonly pages: number };
export interface PlanKernel {
  readonly name: string;
  readonly bindings: readonly Binding[];
  readonly uniformWords: number;
  /** How many weights its matrix has, those of all experts together. */
  readonly weights?: number;
  readonly reads?: Reads;
}
export type PlanLaunch = Launch;
export interface PlanEntry {
  readonly name: EntryName;
  readonly dims: readonly string[];
  readonly launch: string;
  readonly recordWords: number;
  readonly launches: readonly PlanLaunch[];
}
export interface Plan {
  readonly tier: string;
  readonly buffers: readonly PlanBuffer[];
  readonly kernels: readonly PlanKernel[];
  /** What `prefill` does, `prefill_int8` does with activations rounded to int8, `prefill_matrix` on subgroup matrices,
   * where the device has what it needs, and `prefill_few` in less time where tokens are few. A plan has both of
   * `penalize` and `count`, or neither. `image` makes rows of a tile or a picture, for a model that sees. With `texts`
   * it has none of these. */
  readonly entries: Readonly<
    Record<"prefill" | "decode" | "mask" | "sample", PlanEntry> & {
      prefill_int8: PlanEntry | undefined;
      prefill_few: PlanEntry | undefined;
      penalize: PlanEntry | undefined;
      count: PlanEntry | undefined;
      image: PlanEntry | undefined;
      prefill_matrix: (PlanEntry & { readonly needs: Needs }) | undefined;
    }
  >;
  /** `embed` or `score`, of a model of whole texts. */
  readonly texts: PlanEntry | undefined;
}

/** The kernels that an entry launches. */
export function kernelsOf(entry: PlanEntry): Set<number> {
  return new Set(entry.launches.map((launch) => launch.kernel));
}

/** Throws BundleError, which names the field, for what the schema or the format's rules do not admit. */
export function parsePlan(source: string, manifest: Manifest, tier: string): Plan {
  const json = planDocument(source);
  check(json.tier === tier, "plan.tier", `is ${json.tier} in the plan of ${tier}`);
  for (const part of ["buffers", "kernels"] as const) {
    const names = json[part].map(({ name }) => name);
    check(new Set(names).size === names.length, `plan.${part}`, "a name occurs twice");
  }
  json.kernels.forEach(({ bindings }, i) => {
    const ends = bindings.indexOf("uniform") === bindings.length - 1;
    check(ends, `plan.kernels[${i}].bindings`, "the last binding, and only that, is a uniform");
  });
  const onGpu = !isCpuTier({ name: tier });
  const texts = checkEntries(json, manifest, onGpu);
  checkWeights(json.buffers, manifest);
  if (!texts) checkShared(json, manifest, onGpu);
  const { prefill_matrix } = json.entries;
  const known = (name: EntryName): PlanEntry => {
    const { record_words, dims, launch, launches } = json.entries[name]!;
    return { name, dims, launch, recordWords: record_words, launches };
  };
  const entry = (name: EntryName): PlanEntry | undefined => json.entries[name] && known(name);
  return {
    tier,
    buffers: json.buffers.map((buffer) => (buffer.kind === "kv" ? kvBuffer(buffer) : buffer)),
    kernels: json.kernels.map(({ uniform_words, ...kernel }) => ({ ...kernel, uniformWords: uniform_words })),
    texts: texts && known(texts),
    entries: {
      prefill: entry("prefill")!,
      prefill_int8: entry("prefill_int8"),
      prefill_few: entry("prefill_few"),
      penalize: entry("penalize"),
      count: entry("count"),
      image: entry("image"),
      prefill_matrix: prefill_matrix && { ...known("prefill_matrix"), needs: needsOf(prefill_matrix) },
      decode: entry("decode")!,
      mask: entry("mask")!,
      sample: entry("sample")!,
    },
  };
}

const kvBuffer = ({ page_bytes, ...buffer }: Buffer & { kind: "kv" }): PlanBuffer => ({
  ...buffer,
  pageBytes: page_bytes,
});

function needsOf({ needs }: Entry): Needs {
  const { features, limits, subgroup_size, subgroup_matrix } = needs!;
  return {
    features,
    limits: new Map(Object.entries(limits)),
    subgroupSize: subgroup_size,
    subgroupMatrix: subgroup_matrix,
  };
}

/** Returns the entry of a model of whole texts, which is alone. */
function checkEntries(json: PlanDocument, manifest: Manifest, onGpu: boolean): "embed" | "score" | undefined {
  const { entries } = json,
    path = "plan.entries";
  const texts = manifest.embedding ? "embed" : manifest.reranking && "score";
  for (const name of Object.keys(ENTRIES) as EntryName[]) {
    const row = ENTRIES[name];
    const possible = (onGpu || !row.gpu) && !(texts || row.texts);
    const needed = texts ? name === texts : row.required && possible;
    check(entries[name] ? needed || possible : !needed, path, `${needed ? "lacks" : "has"} ${name}`);
    if (entries[name]) checkEntry(name, json, manifest);
  }
  check(
    (entries.image !== undefined) === (manifest.images !== undefined && onGpu),
    path,
    "has image, or images, alone",
  );
  check(
    (entries.penalize === undefined) === (entries.count === undefined),
    path,
    "has one of penalize and count alone",
  );
  return texts;
}

function checkEntry(name: EntryName, { entries, kernels, buffers }: PlanDocument, manifest: Manifest): void {
  const path = `plan.entries.${name}`,
    { dims, needs } = ENTRIES[name],
    entry = entries[name]!;
  check(entry.dims.join() === dims.join(), `${path}.dims`, `must be ${JSON.stringify(dims)}`);
  check(
    (entry.needs !== undefined) === needs,
    `${path}.needs`,
    needs ? "is missing" : "is of an entry that every device of the tier must run",
  );
  entry.launches.forEach(({ kernel: k, args, layer = 0 }, i) => {
    const at = `${path}.launches[${i}]`,
      kernel: Kernel | undefined = kernels[k];
    check(kernel !== undefined, `${at}.kernel`, `is ${k}, but there are ${kernels.length} kernels`);
    check(args.length === kernel.bindings.length - 1, `${at}.args`, "does not match the kernel's bindings");
    check(
      args.every((arg) => arg < buffers.length),
      `${at}.args`,
      `has an index past the ${buffers.length} buffers`,
    );
    check(
      kernel.uniform_words <= entry.record_words - GRID_WORDS,
      `${path}.record_words`,
      `too few for the uniform of ${kernel.name}`,
    );
    check(layer < manifest.model.layers, `${at}.layer`, `is ${layer}, but there are ${manifest.model.layers} layers`);
  });
}

/** An odd number of float16 ends in half a word, which a kernel that reads words binds whole. */
function checkWeights(buffers: readonly Buffer[], { tensors }: Manifest): void {
  buffers.forEach((buffer, i) => {
    if (buffer.kind !== "weight") return;
    const words = Math.ceil((tensors.get(buffer.name)?.bytes ?? 0) / 4);
    check(
      Math.ceil(buffer.bytes / 4) === words,
      `plan.buffers[${i}].bytes`,
      `the weights have ${4 * words} of ${buffer.name}`,
    );
  });
}

function checkShared({ buffers, entries }: PlanDocument, manifest: Manifest, onGpu: boolean): void {
  const { vocab_size, prefill_chunk } = manifest.model;
  const pages = Math.max(1, ...buffers.map((b) => (b.kind === "kv" ? b.pages : 0)));
  const sizes: Partial<Record<SharedBuffer | ImageBuffer, number>> = {
    tokens: DTYPE_BYTES.int32 * prefill_chunk,
    state: State.bytes,
    page_table: DTYPE_BYTES.int32 * pages,
    logits: DTYPE_BYTES.float32 * vocab_size,
    ...(onGpu && {
      sampling: Sampling.bytes,
      mask: DTYPE_BYTES.uint32 * Math.ceil(vocab_size / 32),
      counts: entries.penalize ? DTYPE_BYTES.int32 * vocab_size : 0,
      ...ofImages(manifest),
    }),
  };
  for (const [name, size] of Object.entries(sizes)) {
    const buffer = buffers.find((b) => b.name === name);
    const bytes = buffer === undefined || buffer.kind === "kv" || buffer.kind === "weight" ? 0 : buffer.bytes;
    check(bytes >= size, "plan.buffers", `${name} has ${bytes} of ${size} bytes`);
  }
}

/** Of a tower, whose call takes a tile or a picture, and of its rows in a prefill; nothing of a model without one. */
function ofImages({ model, images }: Manifest): Partial<Record<SharedBuffer | ImageBuffer, number>> {
  if (!images) return {};
  const patches = mostPatches(images),
    rows = mostRows(images),
    width = DTYPE_BYTES.float32 * model.hidden_size * (1 + (images.added ?? 0));
  return {
    ...(images.together && { ends: DTYPE_BYTES.int32 * model.prefill_chunk }),
    images: width * model.prefill_chunk,
    patches: DTYPE_BYTES.float32 * 3 * images.patch ** 2 * patches,
    ...(images.pixels
      ? { spots: Spot.bytes * patches, axes: Axes.bytes * model.prefill_chunk }
      : { positions: DTYPE_BYTES.int32 * patches }),
    ...(images.window && { windows: Place.bytes * patches }),
    places: Place.bytes * patches,
    rows: DTYPE_BYTES.int32 * rows,
    image_rows: width * rows,
  };
}
