// Float or int8 activations in prefill: which is faster differs by GPU, so it is timed where nobody says.
import type { Manifest, Source, Tier } from "../bundle/index.js";
import { isSoftware } from "../device/adapter.js";
import type { Guard } from "../device/index.js";
import { InvalidRequestError } from "../errors.js";
import { heaviestLaunch, kernelsOf, timeHeaviest, type Host, type Pipelines, type Plan, type PlanEntry } from "../plan/index.js";

export type Activations = "float" | "int8";

interface Choosing {
  readonly source: Pick<Source, "choice" | "keepChoice">; readonly manifest: Manifest; readonly plan: Plan; readonly adapter: Pick<GPUAdapter, "info">; readonly tier: Tier;
}

/** What prefill computes with: known, or to be measured. */
export interface Choice {
  /** The prefills that it is between: one, if it is known. */
  readonly prefills: readonly PlanEntry[];
  /** The kernels that are timed. */
  readonly timed: readonly number[];
  /** The kernels that are used whichever it is. */
  readonly certain: ReadonlySet<number>;
  /** Times them, if need be, and keeps the answer with the cached bundle; their pipelines must have been made. */
  settle(device: GPUDevice, guard: Guard, host: Host, pipelines: Pipelines): Promise<Activations>;
}

/** As asked for, or as measured here before for the bundle and the adapter, or still to be measured. */
export async function openChoice(wanted: Activations | undefined, { source, manifest, plan, adapter, tier }: Choosing): Promise<Choice> {
  const { prefill, prefill_int8: int8 } = plan.entries;
  if (wanted === "int8" && !int8) throw new InvalidRequestError("activations", `the tier ${tier.name} of ${manifest.name} has no int8 prefill.`);
  if (wanted !== undefined || !int8 || isSoftware(adapter.info)) return known(plan, wanted ?? "float");
  const { vendor, architecture, device: model, description } = adapter.info;
  const name = `${[vendor, architecture, model, description].join(" ")}, ${tier.kernels}`;
  const kept = await source.choice(name);
  if (kept === "float" || kept === "int8") return known(plan, kept);
  const prefills = [prefill, int8];
  return {
    prefills,
    timed: prefills.map((entry) => entry.launches[heaviestLaunch(plan, entry)]!.kernel),
    certain: certainKernels(plan, prefills),
    async settle(device, guard, host, pipelines) {
      const [float, rounded] = await timeHeaviest(device, guard, host, plan, pipelines, prefills, manifest.model.prefill_chunk);
      const found = rounded! < float! ? "int8" : "float";
      await source.keepChoice(name, found);
      return found;
    },
  };
}

/** Asks for what is timed before all others, so that the choice waits for no other pipeline; weights are fetched meanwhile. */
export function requestPipelines(pipelines: Pipelines, plan: Plan, wgsl: ReadonlyMap<string, string>, { timed, certain }: Choice, onDone: () => void): { timed: Promise<void>; certain: Promise<void> } {
  const requested = { timed: pipelines.create(plan, wgsl, timed), certain: pipelines.create(plan, wgsl, certain, onDone) };
  for (const done of Object.values(requested)) done.catch(() => {}); // Who waits for them hears of it.
  return requested;
}

function known(plan: Plan, activations: Activations): Choice {
  const prefills = [activations === "int8" ? plan.entries.prefill_int8! : plan.entries.prefill];
  return { prefills, timed: [], certain: certainKernels(plan, prefills), settle: () => Promise.resolve(activations) };
}

function certainKernels(plan: Plan, prefills: readonly PlanEntry[]): Set<number> {
  const [first, ...others] = prefills.map(kernelsOf);
  const shared = [...first!].filter((kernel) => others.every((other) => other.has(kernel)));
  return new Set([...kernelsOf(plan.entries.decode), ...kernelsOf(plan.entries.sample), ...shared]);
}
