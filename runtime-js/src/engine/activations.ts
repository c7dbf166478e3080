// What prefill computes with: floats, int8, or subgroup matrices where the bundle and the adapter have them. Which is faster
// differs by GPU, so it is timed where nobody says.
import type { Manifest, Source, Tier, Warning } from "../bundle/index.js";
import { isSoftware } from "../device/adapter.js";
import { type Guard, lacking, type Needs } from "../device/index.js";
import { InvalidRequestError, MissingFeatureError } from "../errors.js";
import {
  comparedLaunches,
  type Host,
  kernelsOf,
  type Pipelines,
  type Plan,
  type PlanEntry,
  timedRows,
  timeHeaviest,
} from "../plan/index.js";

export type Activations = "float" | "int8" | "matrix";

/** One of the plan's prefills. */
export interface Prefill {
  readonly activations: Activations;
  readonly entry: PlanEntry;
}

interface Choosing {
  readonly source: Pick<Source, "choice" | "keepChoice">;
  readonly manifest: Manifest;
  readonly plan: Plan;
  readonly adapter: Pick<GPUAdapter, "info">;
  readonly tier: Tier;
  /** Whether the device was opened with what `prefill_matrix` needs. */
  readonly matrix: boolean;
}

/** How one of them did where they were timed: milliseconds of a launch of its heaviest product with so many rows, the fastest run's and those
 * of all runs. */
export interface Timed {
  readonly activations: Activations;
  readonly kernel: string;
  readonly rows: number;
  readonly launch_ms: number;
  readonly runs_ms: readonly number[];
}
/** What was timed; `sure`: longer would not have changed it. One that is not is timed again at the next load, which ends it. */
export interface ChoiceReport {
  readonly sure: boolean;
  readonly timed: readonly Timed[];
}

type Warn = ((warning: Warning) => void) | undefined;

/** Which prefill: known, or to be measured. */
export interface Choice {
  /** What it is between; where nothing is timed, in the order in which they are tried. */
  readonly prefills: readonly Prefill[];
  /** Each one's kernel that is timed; none, if it is known. */
  readonly timed: readonly number[];
  /** The kernels that are used whichever it is. */
  readonly certain: ReadonlySet<number>;
  /** The fastest of `able` first: it times them, if need be, and then `report` says how. */
  rank(
    able: readonly Prefill[],
    device: GPUDevice,
    guard: Guard,
    host: Host,
    pipelines: Pipelines,
  ): Promise<readonly Prefill[]>;
  readonly report?: ChoiceReport | undefined;
  /** Keeps what came of it with the cached bundle. */
  keep(used: Activations): Promise<void>;
}

/** What the device must be opened with for a prefill on matrices; undefined where there is none to choose. */
export function matrixNeeds(
  wanted: Activations | undefined,
  plan: Plan,
  adapter: GPUAdapter,
  tier: Tier,
  manifest: Pick<Manifest, "name">,
): Needs | undefined {
  const { prefill_matrix: matrix } = plan.entries;
  if (wanted === "matrix" && !matrix)
    throw new InvalidRequestError(
      "activations",
      `the tier ${tier.name} of ${manifest.name} has no prefill on subgroup matrices.`,
      "The best tier with subgroups has one in a bundle compiled with --matrix.",
    );
  if (!matrix || (wanted ?? "matrix") !== "matrix") return undefined;
  const missing = lacking(matrix.needs, adapter);
  if (missing.length === 0) return matrix.needs;
  if (wanted === undefined) return undefined;
  throw new MissingFeatureError(
    `This GPU cannot prefill on subgroup matrices: it lacks ${missing.join(", ")}.`,
    missing,
    "Leave activations out. Chromium offers subgroup matrices on some GPUs, when started with --enable-unsafe-webgpu.",
  );
}

/** As asked for, or as measured here before for the bundle and the adapter, or still to be measured. */
export async function openChoice(
  wanted: Activations | undefined,
  { source, manifest, plan, adapter, tier, matrix }: Choosing,
): Promise<Choice> {
  const { prefill, prefill_int8, prefill_matrix } = plan.entries;
  const float: Prefill = { activations: "float", entry: prefill };
  const int8: Prefill | undefined = prefill_int8 && { activations: "int8", entry: prefill_int8 };
  const matrices: Prefill | undefined =
    matrix && prefill_matrix ? { activations: "matrix", entry: prefill_matrix } : undefined;
  if (wanted === "int8" && !int8)
    throw new InvalidRequestError("activations", `the tier ${tier.name} of ${manifest.name} has no int8 prefill.`);
  const prefills = [float, int8, matrices].filter((found) => found !== undefined);
  if (wanted !== undefined || prefills.length === 1 || isSoftware(adapter.info))
    return known(plan, [prefills.find(({ activations }) => activations === wanted) ?? float]);
  const { vendor, architecture, device: model, description } = adapter.info;
  // What was kept by the first way of timing was sometimes wrong.
  const name = [
    [vendor, architecture, model, description].join(" "),
    tier.kernels,
    ...(matrices ? ["matrix"] : []),
    "timed 2",
  ].join(", ");
  const kept = await source.choice(name);
  const before = prefills.find(({ activations }) => activations === kept);
  if (before && before === matrices) {
    // Another version of the browser may refuse them: then floats it is, and the next load measures.
    return known(plan, [matrices, float], async (used) => {
      if (used !== "matrix") await source.keepChoice(name, "");
    });
  }
  if (before) return known(plan, [before]);
  const choice: Choice & { report: ChoiceReport | undefined } = {
    prefills,
    timed: timedKernels(plan, prefills),
    certain: certainKernels(plan, prefills),
    report: undefined,
    async rank(able, device, guard, host, pipelines) {
      if (able.length === 1) return able;
      const {
        model: { prefill_chunk },
      } = manifest;
      const { measured, sure } = await timeHeaviest(
        device,
        guard,
        host,
        plan,
        pipelines,
        able.map(({ entry }) => entry),
        prefill_chunk,
      );
      const kernels = timedKernels(plan, able);
      const timed = able.map(
        ({ activations }, i): Timed => ({
          activations,
          kernel: plan.kernels[kernels[i]!]!.name,
          rows: timedRows(prefill_chunk),
          launch_ms: measured[i]!.ms,
          runs_ms: measured[i]!.runs,
        }),
      );
      choice.report = { sure, timed };
      return able
        .map((one, i) => ({ one, ms: measured[i]!.ms }))
        .sort((a, b) => a.ms - b.ms)
        .map(({ one }) => one);
    },
    // One that is not sure is kept when two loads agree.
    keep: (used) => source.keepChoice(name, choice.report?.sure === false && kept !== `${used}?` ? `${used}?` : used),
  };
  return choice;
}

function timedKernels(plan: Plan, prefills: readonly Prefill[]): number[] {
  const entries = prefills.map(({ entry }) => entry);
  return comparedLaunches(plan, entries).map((at, i) => entries[i]!.launches[at]!.kernel);
}

/** Asks for what is timed before all others, so that the choice waits for no other pipeline; weights are fetched meanwhile.
 * `able` are the prefills whose timed kernel the GPU compiles. */
export function requestPipelines(
  pipelines: Pipelines,
  plan: Plan,
  wgsl: ReadonlyMap<string, string>,
  { prefills, timed, certain }: Choice,
  onDone: () => void,
  onWarning?: Warn,
): { able: Promise<Prefill[]>; certain: Promise<void> } {
  const tried = prefills.map(async (one, i) => {
    if (timed.length > 0 && !(await compiles(one, pipelines.create(plan, wgsl, [timed[i]!]), onWarning))) return [];
    return [one];
  });
  const requested = {
    able: Promise.all(tried).then((found) => found.flat()),
    certain: pipelines.create(plan, wgsl, certain, onDone),
  };
  for (const done of Object.values(requested)) done.catch(() => {}); // Who waits for them hears of it.
  return requested;
}

/** The first prefill whose other pipelines the GPU makes, which are made then. */
export async function firstMade(
  ranked: readonly Prefill[],
  { certain, keep }: Pick<Choice, "certain" | "keep">,
  pipelines: Pipelines,
  plan: Plan,
  wgsl: ReadonlyMap<string, string>,
  onDone: () => void,
  onWarning?: Warn,
): Promise<Prefill> {
  const [first, ...others] = ranked;
  const making = pipelines.create(
    plan,
    wgsl,
    [...kernelsOf(first!.entry)].filter((kernel) => !certain.has(kernel)),
    onDone,
  );
  if (others.length === 0) await making;
  else if (!(await compiles(first!, making, onWarning)))
    return firstMade(others, { certain, keep }, pipelines, plan, wgsl, onDone, onWarning);
  await keep(first!.activations);
  return first!;
}

/** Whether pipelines could be made. Those on matrices may fail, which is told: the syntax is experimental. */
async function compiles({ activations }: Prefill, making: Promise<void>, onWarning: Warn): Promise<boolean> {
  try {
    await making;
    return true;
  } catch (error) {
    if (activations !== "matrix") throw error;
    onWarning?.({
      code: "matrix-refused",
      message: `Prefill does not use subgroup matrices: ${error instanceof Error ? error.message : String(error)}`,
    });
    return false;
  }
}

function known(plan: Plan, prefills: readonly Prefill[], keep: Choice["keep"] = async () => {}): Choice {
  return { prefills, timed: [], certain: certainKernels(plan, prefills), rank: async (able) => able, keep };
}

function certainKernels(plan: Plan, prefills: readonly Prefill[]): Set<number> {
  const [first, ...others] = prefills.map(({ entry }) => kernelsOf(entry));
  const shared = [...first!].filter((kernel) => others.every((other) => other.has(kernel)));
  return new Set([...kernelsOf(plan.entries.decode), ...kernelsOf(plan.entries.sample), ...shared]);
}
