// Chooses the tier of a bundle that an adapter runs: the first whose features and limits it has. Where the adapter is a
// CPU, `software` comes before all others.
import type { Tier } from "../bundle/manifest.js";
import { TIERS } from "../contract/index.js";
import { InvalidRequestError, MissingFeatureError } from "../errors.js";

export interface Capabilities {
  readonly features: ReadonlySet<string>;
  /** The adapter's value of a WebGPU limit; undefined when it does not know the limit. */
  limit(name: string): number | undefined;
  /** Whether the CPU does the work. */
  readonly software: boolean;
}

/** The tier with kernels for adapters that are a CPU; any adapter with its features can run it. */
export const SOFTWARE_TIER = TIERS.find((tier) => tier.software)!.name;

/** What the adapter lacks for a tier, or an entry: feature names, and limits as "name ≥ value". */
export function missingFor(tier: Pick<Tier, "features" | "limits">, adapter: Capabilities): string[] {
  const missing = tier.features.filter((feature) => !adapter.features.has(feature));
  for (const [name, needed] of tier.limits) {
    const has = adapter.limit(name);
    const enough = has !== undefined && (name.startsWith("min") ? has <= needed : has >= needed);
    if (!enough) missing.push(`${name} ${name.startsWith("min") ? "≤" : "≥"} ${needed}`);
  }
  return missing;
}

/** The tiers in the order in which they are tried: those for this kind of adapter first. */
export function inTurn<T extends { readonly name: string }>(tiers: readonly T[], { software }: Capabilities): T[] {
  const suited = (tier: T): boolean => (tier.name === SOFTWARE_TIER) === software;
  return [...tiers.filter(suited), ...tiers.filter((tier) => !suited(tier))];
}

export function chooseTier(tiers: readonly Tier[], adapter: Capabilities, named?: string): Tier {
  if (named !== undefined) {
    const tier = tiers.find((t) => t.name === named);
    if (!tier)
      throw new InvalidRequestError(
        "tier",
        `the bundle has no tier ${named}; it has ${tiers.map((t) => t.name).join(", ")}.`,
      );
    const missing = missingFor(tier, adapter);
    if (missing.length)
      throw new MissingFeatureError(`This GPU cannot run the tier ${named}: it lacks ${missing.join(", ")}.`, missing);
    return tier;
  }
  const reasons: string[] = [];
  for (const tier of inTurn(tiers, adapter)) {
    const missing = missingFor(tier, adapter);
    if (missing.length === 0) return tier;
    reasons.push(`${tier.name} needs ${missing.join(", ")}`);
  }
  const all = [...new Set(tiers.flatMap((tier) => missingFor(tier, adapter)))];
  throw new MissingFeatureError(`This GPU can run none of the bundle's tiers: ${reasons.join("; ")}.`, all);
}
