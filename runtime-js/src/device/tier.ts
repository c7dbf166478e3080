// Chooses the tier of a bundle that an adapter runs: the first whose features and limits it has. Where the adapter is a
// CPU, `wasm` and then `software` come before all others; where there is none, `wasm` is the only one.
import type { Tier } from "../bundle/manifest.js";
import { TIERS } from "../contract/index.js";
import { InvalidRequestError, MissingFeatureError } from "../errors.js";

export interface Capabilities {
  readonly features: ReadonlySet<string>;
  /** The adapter's value of a WebGPU limit; undefined when it does not know the limit. */
  limit(name: string): number | undefined;
  /** Whether the CPU does the work. */
  readonly software: boolean;
  /** Whether there is no adapter at all. */
  readonly none?: boolean;
}

/** What a page without WebGPU has. */
export const NO_ADAPTER: Capabilities = { features: new Set(), limit: () => undefined, software: true, none: true };

/** The tier with kernels for adapters that are a CPU; any adapter with its features can run it. */
export const SOFTWARE_TIER = TIERS.find((tier) => tier.software)!.name;

/** Whether a tier's kernels are WebAssembly, and need no adapter. */
export const isCpuTier = ({ name }: { readonly name?: string | undefined }): boolean => CPU_TIERS.has(name ?? "");
const CPU_TIERS: ReadonlySet<string> = new Set(TIERS.filter((tier) => tier.cpu).map((tier) => tier.name));

/** What the adapter lacks for a tier, or an entry: feature names, and limits as "name ≥ value". */
export function missingFor(
  tier: Pick<Tier, "features" | "limits"> & { readonly name?: string },
  adapter: Capabilities,
): string[] {
  if (adapter.none && !isCpuTier(tier)) return ["WebGPU"];
  const missing = tier.features.filter((feature) => !adapter.features.has(feature));
  for (const [name, needed] of tier.limits) {
    const has = adapter.limit(name);
    const enough = has !== undefined && (name.startsWith("min") ? has <= needed : has >= needed);
    if (!enough) missing.push(`${name} ${name.startsWith("min") ? "≤" : "≥"} ${needed}`);
  }
  return missing;
}

/** The tiers in the order in which they are tried: those for this kind of adapter first. */
export function inTurn<T extends { readonly name: string }>(
  tiers: readonly T[],
  { software }: Pick<Capabilities, "software">,
): T[] {
  const rank = (tier: T): number => (isCpuTier(tier) ? 2 : tier.name === SOFTWARE_TIER ? 1 : 0) * (software ? -1 : 1);
  return [...tiers].sort((a, b) => rank(a) - rank(b));
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
