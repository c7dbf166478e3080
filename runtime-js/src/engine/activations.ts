// Float or int8 activations in prefill: which is faster differs by GPU, so it is timed where nobody says.
import type { Manifest, Source, Tier } from "../bundle/index.js";
import { isSoftware } from "../device/adapter.js";
import type { Guard } from "../device/index.js";
import { InvalidRequestError } from "../errors.js";
import { heaviestLaunch, timeHeaviest, type Host, type Pipelines, type Plan } from "../plan/index.js";

export type Activations = "float" | "int8";

interface Choosing {
  readonly source: Source; readonly manifest: Manifest; readonly plan: Plan; readonly wgsl: ReadonlyMap<string, string>;
  readonly adapter: GPUAdapter; readonly device: GPUDevice; readonly guard: Guard; readonly host: Host; readonly pipelines: Pipelines; readonly tier: Tier;
}

/** What prefill computes with: as asked for, or what is faster here, measured once for a bundle and an adapter and kept
 * with the cached bundle. */
export async function chooseActivations(wanted: Activations | undefined, { source, manifest, plan, wgsl, adapter, device, guard, host, pipelines, tier }: Choosing): Promise<Activations> {
  const { prefill, prefill_int8: int8 } = plan.entries;
  if (wanted === "int8" && !int8) throw new InvalidRequestError("activations", `the tier ${tier.name} of ${manifest.name} has no int8 prefill.`);
  if (wanted !== undefined || !int8 || isSoftware(adapter.info)) return wanted ?? "float";
  const { vendor, architecture, device: model, description } = adapter.info;
  const found = await source.choice(`${[vendor, architecture, model, description].join(" ")}, ${tier.kernels}`, (value) => value === "float" || value === "int8", async () => {
    const both = [prefill, int8];
    await pipelines.create(plan, wgsl, new Set(both.map((entry) => entry.launches[heaviestLaunch(plan, entry)]!.kernel)));
    const [float, rounded] = await timeHeaviest(device, guard, host, plan, pipelines, both, manifest.model.prefill_chunk);
    return rounded! < float! ? "int8" : "float";
  });
  return found as Activations;
}
