// Compares an adapter with what an entry of the plan needs beyond its tier.
import type { Tier } from "../bundle/manifest.js";
import { capabilities } from "./adapter.js";
import { missingFor } from "./tier.js";

/** Of a subgroup matrix: the factors' and the sums' type, and the sides m x n of a result, with k between them. */
export interface SubgroupMatrix {
  readonly component: string;
  readonly result: string;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

export interface Needs {
  readonly features: readonly string[];
  readonly limits: ReadonlyMap<string, number>;
  /** Threads of a subgroup, in all of them. */
  readonly subgroupSize: number;
  readonly subgroupMatrix: SubgroupMatrix;
}

/** Chromium's experimental `GPUSubgroupMatrixConfig`. */
interface Config {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** What the adapter lacks, in words; empty where it can be asked for all of it. */
export function missingNeeds(needs: Needs, adapter: GPUAdapter): string[] {
  const missing = missingFor(needs, capabilities(adapter));
  const { subgroupMinSize, subgroupMaxSize } = adapter.info,
    size = needs.subgroupSize;
  if (subgroupMinSize !== size || subgroupMaxSize !== size) missing.push(`subgroups of ${size}`);
  const { component, result, m, n, k } = needs.subgroupMatrix;
  const configs = (adapter.info as { subgroupMatrixConfigs?: Iterable<Config> | null }).subgroupMatrixConfigs ?? [];
  const has = [...configs].some(
    (c) => c.componentType === component && c.resultComponentType === result && c.M === m && c.N === n && c.K === k,
  );
  if (!has) missing.push(`${m} x ${n} x ${k} matrices of ${component} with sums in ${result}`);
  return missing;
}

/** A tier's features and limits, raised by what an entry needs. */
export function mergeRequirements(
  tier: Pick<Tier, "features" | "limits">,
  needs: Needs | undefined,
): Pick<Tier, "features" | "limits"> {
  if (!needs) return tier;
  const limits = new Map(tier.limits);
  for (const [name, value] of needs.limits) {
    const other = limits.get(name) ?? value;
    limits.set(name, name.startsWith("min") ? Math.min(value, other) : Math.max(value, other));
  }
  return { features: [...new Set([...tier.features, ...needs.features])], limits };
}
