// Reports this browser's GPU, for `mlcweb doctor` and bug reports.
import { openCache } from "../bundle/store.js";
import { TIERS } from "../contract/index.js";
import { MlcwebError } from "../errors.js";
import { type AdapterFacts, describeAdapter, isSoftware, requestAdapter } from "./adapter.js";
import { storageFacts } from "./storage.js";
import { inTurn, isCpuTier } from "./tier.js";

export interface ProbeReport {
  readonly webgpu: boolean;
  readonly secureContext: boolean;
  readonly userAgent: string;
  readonly adapter: AdapterFacts | null;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
  readonly wgslFeatures: readonly string[];
  readonly subgroupSizes: readonly [number, number] | null;
  /** Tier names that this GPU has the features for, best first. */
  readonly tiers: readonly string[];
  readonly storage: { readonly quota: number; readonly usage: number; readonly cacheApi: boolean };
  readonly error: { readonly code: string; readonly message: string; readonly hint: string } | null;
}

export async function probe(): Promise<ProbeReport> {
  const { quota, used } = await storageFacts();
  const base = {
    secureContext: globalThis.isSecureContext ?? false,
    userAgent: navigator.userAgent,
    storage: { quota: quota ?? 0, usage: used ?? 0, cacheApi: (await openCache()) !== undefined },
  };
  try {
    const adapter = await requestAdapter();
    const features = [...adapter.features].sort();
    const limits: Record<string, number> = {};
    for (const key in adapter.limits) {
      const value = (adapter.limits as unknown as Record<string, unknown>)[key];
      if (typeof value === "number") limits[key] = value;
    }
    const software = isSoftware(adapter.info);
    const { subgroupMinSize: min, subgroupMaxSize: max } = adapter.info;
    return {
      ...base,
      webgpu: true,
      adapter: describeAdapter(adapter),
      features,
      limits,
      wgslFeatures: [...navigator.gpu.wgslLanguageFeatures].sort(),
      subgroupSizes: min && max ? [min, max] : null,
      tiers: inTurn(TIERS, { software })
        .filter((tier) => tier.features.every((feature) => features.includes(feature)))
        .map(({ name }) => name),
      error: null,
    };
  } catch (error) {
    if (!(error instanceof MlcwebError)) throw error;
    return {
      ...base,
      webgpu: false,
      adapter: null,
      features: [],
      limits: {},
      wgslFeatures: [],
      subgroupSizes: null,
      tiers: TIERS.filter(isCpuTier).map(({ name }) => name),
      error: error.toJSON(),
    };
  }
}
