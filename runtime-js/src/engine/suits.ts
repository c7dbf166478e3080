// Says which of a bundle's tiers a load takes on a device, and what it asks of the GPU's memory, by the manifest alone.
import type { Manifest, Source, Tier } from "../bundle/index.js";
import { capabilities, requestAdapter } from "../device/adapter.js";
import { type Capabilities, chooseTier, isCpuTier, missingFor, NO_ADAPTER, withoutBlind } from "../device/tier.js";
import { InvalidRequestError, NoWebGPUError, WrongResultsError } from "../errors.js";
import type { Activations } from "./activations.js";
import type { LoadOptions } from "./options.js";
import { nameOf, type Verdicts } from "./verdicts.js";

/** The adapter; undefined where none is asked for, and why there is none where the bundle has a tier without. */
export async function findAdapter(
  { tiers }: Manifest,
  { tier, powerPreference }: Pick<LoadOptions, "tier" | "powerPreference">,
): Promise<GPUAdapter | NoWebGPUError | undefined> {
  if (isCpuTier({ name: tier })) return undefined;
  try {
    return await requestAdapter(powerPreference);
  } catch (error) {
    if (error instanceof NoWebGPUError && tier === undefined && tiers.some(isCpuTier)) return error;
    throw error;
  }
}

/** The tier that is named, or else the first that runs and that earlier loads have not found to be wrong. */
export async function chooseFor(
  { tiers, images }: Manifest,
  adapter: GPUAdapter | undefined,
  { tier: named, activations, profile }: Pick<LoadOptions, "tier" | "activations" | "profile">,
  source: Source,
  verdicts: Verdicts | undefined,
): Promise<Tier> {
  await verdicts?.open(source, adapter ? nameOf(adapter.info) : "no adapter");
  const has = adapter ? capabilities(adapter) : NO_ADAPTER;
  // what only a GPU's tier does is asked for: where there is one, that is taken
  const onGpu = images !== undefined || profile === true || activations !== undefined;
  const tier = rightTier(onGpu && named === undefined ? withoutBlind(tiers, has) : tiers, has, named, verdicts);
  if (isCpuTier(tier) && activations !== undefined && activations !== activationsOf(tier))
    throw new InvalidRequestError(
      "activations",
      `are ${activationsOf(tier)} on the tier ${tier.name} of this bundle, and cannot be ${activations}.`,
    );
  return tier;
}

/** What a tier's products take where no prefill is chosen: the CPU's may round all that it multiplies. */
export const activationsOf = ({ int8 }: Pick<Tier, "int8">): Activations => (int8 ? "int8" : "float");

/** The first tier that the adapter runs, and that is not known to be wrong on it. */
function rightTier(
  tiers: readonly Tier[],
  has: Capabilities,
  named: string | undefined,
  verdicts: Verdicts | undefined,
): Tier {
  const first = chooseTier(tiers, has, named);
  if (!verdicts?.isWrong({ tier: first, activations: activationsOf(first) })) return first;
  const others = tiers.filter((tier) => tier !== first);
  if (named === undefined && others.some((tier) => missingFor(tier, has).length === 0))
    return rightTier(others, has, undefined, verdicts);
  throw new WrongResultsError(
    named === undefined
      ? "On this device every tier of the bundle that it can run computes wrong results."
      : `The tier ${named} computes wrong results on this device.`,
  );
}

/** Bytes of the largest buffer of a KV cache of so many pages; 0 where the bundle does not say it. */
export const largestKvBuffer = ({ cost }: Pick<Tier, "cost">, pages: number): number =>
  (cost?.kv_largest_page ?? 0) * pages;
