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

export interface MissingLimit {
  readonly name: string;
  readonly needed: number;
  /** What the adapter has; null where it does not know the limit. */
  readonly has: number | null;
}
export interface Missing {
  readonly features: readonly string[];
  readonly limits: readonly MissingLimit[];
}
type Needed = Pick<Tier, "features" | "limits"> & { readonly name?: string };

/** Whether a tier's kernels are WebAssembly, and need no adapter. */
export const isCpuTier = ({ name }: { readonly name?: string | undefined }): boolean => CPU_TIERS.has(name ?? "");
const CPU_TIERS: ReadonlySet<string> = new Set(TIERS.filter((tier) => tier.cpu).map((tier) => tier.name));

/** What the adapter lacks for a tier, or an entry. */
export function lacking({ name, features, limits }: Needed, adapter: Capabilities): Missing {
  if (adapter.none && !isCpuTier({ name })) return { features: ["WebGPU"], limits: [] };
  const all = [...limits].map(([name, needed]) => ({ name, needed, has: adapter.limit(name) ?? null }));
  return {
    features: features.filter((feature) => !adapter.features.has(feature)),
    limits: all.filter(({ name, needed, has }) => has === null || (isLeast(name) ? has > needed : has < needed)),
  };
}

const isLeast = (limit: string): boolean => limit.startsWith("min");

/** The same in words: feature names, and limits as "name ≥ value". */
export const missingFor = (tier: Needed, adapter: Capabilities): string[] => inWords(lacking(tier, adapter));

export const inWords = ({ features, limits }: Missing): string[] => [
  ...features,
  ...limits.map(({ name, needed }) => `${name} ${isLeast(name) ? "≤" : "≥"} ${needed}`),
];

export interface Fit<T> {
  /** The first tier that the adapter runs. */
  readonly tier: T | undefined;
  /** What it lacks for the one that needs least; nothing where there is one that it runs. */
  readonly missing: Missing;
}

export function fitTier<T extends Needed & { readonly name: string }>(
  tiers: readonly T[],
  adapter: Capabilities,
): Fit<T> {
  let least: Missing | undefined;
  const count = ({ features, limits }: Missing): number => features.length + limits.length;
  for (const tier of inTurn(tiers, adapter)) {
    const missing = lacking(tier, adapter);
    if (count(missing) === 0) return { tier, missing };
    if (!least || count(missing) < count(least)) least = missing;
  }
  return { tier: undefined, missing: least ?? { features: [], limits: [] } };
}

/** The CPU's tier sees no pictures: where there is an adapter, a model that does takes another. */
export const withoutBlind = <T extends { readonly name: string }>(tiers: readonly T[], { none }: Capabilities): T[] =>
  tiers.filter((tier) => none || !isCpuTier(tier));

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
  const { tier } = fitTier(tiers, adapter);
  if (tier) return tier;
  const reasons = inTurn(tiers, adapter).map((one) => `${one.name} needs ${missingFor(one, adapter).join(", ")}`);
  const all = [...new Set(tiers.flatMap((tier) => missingFor(tier, adapter)))];
  throw new MissingFeatureError(`This GPU can run none of the bundle's tiers: ${reasons.join("; ")}.`, all);
}
