// Chooses what prefill computes with: floats, int8, or subgroup matrices where the bundle and the adapter have them.
// The fastest differs by GPU, so the engine times them, unless the page names one.
import type { Manifest, Source, Tier, Warning } from "../bundle/index.js";
import { isSoftware } from "../device/adapter.js";
import { missingNeeds, type Needs } from "../device/index.js";
import { InvalidRequestError, MissingFeatureError, WrongResultsError } from "../errors.js";
import {
  comparedLaunches,
  kernelsOf,
  type Pipelines,
  type Plan,
  type PlanEntry,
  type TimedGpu,
  timedRows,
  timeLaunches,
} from "../plan/index.js";
import { nameOf } from "./verdicts.js";

export type Activations = "float" | "int8" | "matrix";

/** One of the plan's prefills, or the entry of a model of whole texts, which is the only one there. */
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
  /** Whether a prefill is known to be wrong on this device. */
  readonly isWrong: (activations: Activations) => boolean;
}

/** The times of one prefill. The engine times a launch of its heaviest product on `rows` rows, in several runs.
 * `launch_ms` is a launch's milliseconds in the fastest run, and `runs_ms` has those of every run. */
export interface Timed {
  readonly activations: Activations;
  readonly kernel: string;
  readonly rows: number;
  readonly launch_ms: number;
  readonly runs_ms: readonly number[];
}
/** The times of all prefills. `sure` means that more runs would not have changed the order. If it is false, the next
 * load times them again, and its result stands. */
export interface ChoiceReport {
  readonly sure: boolean;
  readonly timed: readonly Timed[];
}

type OnWarning = ((warning: Warning) => void) | undefined;

/** The choice of a prefill for this device. It is known, or the prefills are still to be timed. */
export interface PrefillChoice {
  /** The candidates. Where nothing is timed, they are tried in this order. */
  readonly prefills: readonly Prefill[];
  /** Each candidate's kernel that is timed; empty where nothing is timed. */
  readonly timed: readonly number[];
  /** The kernels that the model needs with any of the prefills. */
  readonly common: ReadonlySet<number>;
  /** Sorts the candidates whose timed kernel compiled, the fastest first. If it times them, it sets `report`. */
  rank(candidates: readonly Prefill[], gpu: TimedGpu): Promise<readonly Prefill[]>;
  readonly report?: ChoiceReport | undefined;
  /** Keeps the result with the cached bundle. */
  keep(used: Activations): Promise<void>;
}

/** Returns what a prefill on matrices needs of the device; undefined where there is no such candidate. Throws
 * InvalidRequestError or MissingFeatureError when the page asks for matrices and cannot have them. */
export function matrixNeeds(
  asked: Activations | undefined,
  plan: Plan,
  adapter: GPUAdapter,
  tier: Tier,
  manifest: Pick<Manifest, "name">,
): Needs | undefined {
  const { prefill_matrix: matrix } = plan.entries;
  if (asked === "matrix" && !matrix)
    throw new InvalidRequestError(
      "activations",
      `the tier ${tier.name} of ${manifest.name} has no prefill on subgroup matrices.`,
      "The best tier with subgroups has one in a bundle compiled with --matrix.",
    );
  if (!matrix || (asked ?? "matrix") !== "matrix") return undefined;
  const missing = missingNeeds(matrix.needs, adapter);
  if (missing.length === 0) return matrix.needs;
  if (asked === undefined) return undefined;
  throw new MissingFeatureError(
    `This GPU cannot prefill on subgroup matrices: it lacks ${missing.join(", ")}.`,
    missing,
    "Leave activations out. Chromium offers subgroup matrices on some GPUs, when started with --enable-unsafe-webgpu.",
  );
}

/** Returns the prefill that the page asks for, or else the one that an earlier load of this bundle on this adapter
 * chose, or else several to be timed. */
export async function openChoice(asked: Activations | undefined, choosing: Choosing): Promise<PrefillChoice> {
  const { source, manifest, plan, adapter, tier, isWrong } = choosing;
  if (asked !== undefined && asked !== "float" && isWrong(asked))
    throw new WrongResultsError(`The tier ${tier.name} with ${asked} prefill computes wrong results on this device.`);
  const prefills = candidates(choosing);
  const find = (name: string | undefined): Prefill | undefined =>
    prefills.find(({ activations }) => activations === name);
  if (asked === "int8" && !find("int8"))
    throw new InvalidRequestError("activations", `the tier ${tier.name} of ${manifest.name} has no int8 prefill.`);
  const float = prefills[0]!;
  if (asked !== undefined || prefills.length === 1 || isSoftware(adapter.info))
    return known(plan, [find(asked) ?? float]);
  const key = choiceKey(choosing, find("matrix") !== undefined);
  const cached = await source.choice(key);
  const before = find(cached);
  if (!before) return new TimedChoice(choosing, prefills, key, cached);
  if (before.activations !== "matrix") return known(plan, [before]);
  // Another version of the browser may refuse matrices: then floats are used, and the next load times again.
  return known(plan, [before, float], async (used) => {
    if (used !== "matrix") await source.keepChoice(key, "");
  });
}

/** The prefills that the plan has and the device was opened for, floats first. */
function candidates({ plan, matrix, isWrong }: Choosing): Prefill[] {
  const { prefill, prefill_int8, prefill_matrix } = plan.entries;
  const all = [
    { activations: "float", entry: plan.texts ?? prefill },
    { activations: "int8", entry: prefill_int8 },
    { activations: "matrix", entry: matrix ? prefill_matrix : undefined },
  ] as const;
  return all.filter(
    (one): one is typeof one & Prefill =>
      one.entry !== undefined && (one.activations === "float" || !isWrong(one.activations)),
  );
}

/** Names a choice in the cache. The name ends in a version, because the first way of timing sometimes chose wrong. */
function choiceKey({ adapter, tier }: Choosing, matrix: boolean): string {
  return [nameOf(adapter.info), tier.kernels, ...(matrix ? ["matrix"] : []), "timed 2"].join(", ");
}

function known(plan: Plan, prefills: readonly Prefill[], keep: PrefillChoice["keep"] = async () => {}): PrefillChoice {
  return { prefills, timed: [], common: commonKernels(plan, prefills), rank: async (ranked) => ranked, keep };
}

class TimedChoice implements PrefillChoice {
  readonly timed: readonly number[];
  readonly common: ReadonlySet<number>;
  report: ChoiceReport | undefined;

  /** `cached` is what the last load kept: a prefill's name, with a question mark if that load was not sure. */
  constructor(
    private readonly choosing: Choosing,
    readonly prefills: readonly Prefill[],
    private readonly key: string,
    private readonly cached: string | undefined,
  ) {
    this.timed = timedKernels(choosing.plan, prefills);
    this.common = commonKernels(choosing.plan, prefills);
  }

  async rank(prefills: readonly Prefill[], gpu: TimedGpu): Promise<readonly Prefill[]> {
    if (prefills.length === 1) return prefills;
    const { plan, manifest } = this.choosing;
    const chunk = manifest.model.prefill_chunk;
    const entries = prefills.map(({ entry }) => entry);
    const { times, sure } = await timeLaunches(gpu, plan, entries, chunk);
    const kernels = timedKernels(plan, prefills);
    const timed = prefills.map(
      ({ activations }, i): Timed => ({
        activations,
        kernel: plan.kernels[kernels[i]!]!.name,
        rows: timedRows(chunk),
        launch_ms: times[i]!.ms,
        runs_ms: times[i]!.runs,
      }),
    );
    this.report = { sure, timed };
    return prefills
      .map((prefill, i) => ({ prefill, ms: times[i]!.ms }))
      .sort((a, b) => a.ms - b.ms)
      .map(({ prefill }) => prefill);
  }

  /** A choice that is not sure is kept when two loads agree. */
  keep(used: Activations): Promise<void> {
    const unsure = `${used}?`;
    const value = this.report?.sure === false && this.cached !== unsure ? unsure : used;
    return this.choosing.source.keepChoice(this.key, value);
  }
}

function timedKernels(plan: Plan, prefills: readonly Prefill[]): number[] {
  const entries = prefills.map(({ entry }) => entry);
  return comparedLaunches(plan, entries).map((at, i) => entries[i]!.launches[at]!.kernel);
}

function commonKernels(plan: Plan, prefills: readonly Prefill[]): Set<number> {
  const [first, ...others] = prefills.map(({ entry }) => kernelsOf(entry));
  const shared = [...first!].filter((kernel) => others.every((other) => other.has(kernel)));
  const { decode, mask, sample } = plan.entries;
  const beside = plan.texts ? [] : [decode, mask, sample];
  return new Set([...beside.flatMap((entry) => [...kernelsOf(entry)]), ...shared]);
}

/** Asks for the timed kernels before all others, so that the choice waits for no other pipeline; weights are fetched
 * meanwhile. `candidates` are the prefills whose timed kernel the GPU compiles. */
export function requestPipelines(
  pipelines: Pipelines,
  { prefills, timed, common }: PrefillChoice,
  onCompiled: () => void,
  onWarning?: OnWarning,
): { candidates: Promise<Prefill[]>; common: Promise<void> } {
  const tried = prefills.map(async (prefill, i) => {
    const usable = timed.length === 0 || (await compiles(prefill, pipelines.create([timed[i]!]), onWarning));
    return usable ? [prefill] : [];
  });
  const requested = {
    candidates: Promise.all(tried).then((usable) => usable.flat()),
    common: pipelines.create(common, onCompiled),
  };
  for (const done of Object.values(requested)) done.catch(() => {}); // Their callers see the error.
  return requested;
}

/** Compiles the other pipelines of the first prefill that the GPU takes, and returns that prefill. */
export async function compileFirst(
  ranked: readonly Prefill[],
  choice: Pick<PrefillChoice, "common" | "keep">,
  pipelines: Pipelines,
  onCompiled: () => void,
  onWarning?: OnWarning,
): Promise<Prefill> {
  const [first, ...others] = ranked;
  const missing = [...kernelsOf(first!.entry)].filter((kernel) => !choice.common.has(kernel));
  const compiling = pipelines.create(missing, onCompiled);
  if (others.length === 0) await compiling;
  else if (!(await compiles(first!, compiling, onWarning)))
    return compileFirst(others, choice, pipelines, onCompiled, onWarning);
  await choice.keep(first!.activations);
  return first!;
}

/** Whether the pipelines compile. Those on matrices may fail, with a warning: their syntax is experimental. */
async function compiles({ activations }: Prefill, compiling: Promise<void>, onWarning: OnWarning): Promise<boolean> {
  try {
    await compiling;
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
