// Says which of a bundle's tiers a load takes on a device, and what it asks of the GPU's memory, by the manifest alone.
import type { Tier } from "../bundle/manifest.js";
import { type Capabilities, chooseTier, missingFor } from "../device/tier.js";
import { WrongResultsError } from "../errors.js";
import type { Verdicts } from "./verdicts.js";

/** The first tier that the adapter runs, and that is not known to be wrong on it. */
export function rightTier(
  tiers: readonly Tier[],
  has: Capabilities,
  named: string | undefined,
  verdicts: Verdicts | undefined,
): Tier {
  const first = chooseTier(tiers, has, named);
  if (!verdicts?.isWrong({ tier: first, activations: "float" })) return first;
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
