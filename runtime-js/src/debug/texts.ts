// Writes the log's lines about stages, choices and launches. The engine fetches this chunk only where the load option
// `debug` asks for it.
import type { Tier } from "../bundle/manifest.js";
import type { Capabilities } from "../device/tier.js";
import type { Prefill, PrefillChoice } from "../engine/activations.js";
import type { Entry } from "../plan/index.js";

export function took(name: string, milliseconds: number): string {
  return `${name}: ${milliseconds.toFixed(1)} ms`;
}

/** Describes the adapter, what it has, and each tier of the bundle with the reason for it or against it, a line each.
 * `missing` tells what the adapter lacks for a tier; the engine's core passes it, so that this chunk need not hold it
 * too. */
export function describeTier(
  info: GPUAdapterInfo | undefined,
  has: Capabilities,
  tiers: readonly Tier[],
  chosen: Tier,
  asked: boolean,
  missing: (tier: Tier) => readonly string[],
): string {
  const names = info ? [info.vendor, info.architecture, info.device, info.description] : ["none"];
  const limits = ["maxBufferSize", "maxStorageBufferBindingSize", ...tiers.flatMap((tier) => [...tier.limits.keys()])];
  const why = (tier: Tier): string => {
    if (tier === chosen) return `chosen, ${asked ? "as asked for" : "the first that this adapter can run"}`;
    const lacks = missing(tier).join(", ");
    return lacks ? `refused, lacks ${lacks}` : "possible, but not the first";
  };
  return [
    `adapter: ${names.filter(Boolean).join(" ")}${info && has.software ? " (a CPU)" : ""}`,
    `features: ${[...has.features].sort().join(", ")}`,
    `limits: ${[...new Set(limits)].map((name) => `${name} ${has.limit(name)}`).join(", ")}`,
    ...tiers.map((tier) => `tier ${tier.name}: ${why(tier)}`),
  ].join("\n");
}

/** Which prefill it is, and why: with the times, where candidates were timed by this load. */
export function describePrefill({ activations }: Prefill, { prefills, report }: PrefillChoice): string {
  if (!report) {
    const why =
      prefills.length === 1 ? "asked for, kept from an earlier load, or the only one" : "the first to compile";
    return `prefill ${activations}: ${why}`;
  }
  const times = report.timed.map(
    ({ activations: name, kernel, rows, launch_ms }) => `${name} ${launch_ms.toFixed(3)} ms (${kernel}, ${rows} rows)`,
  );
  return `prefill ${activations}: ${report.sure ? "" : "not sure, "}${times.join(", ")}`;
}

/** An entry's dims, and its launches counted by kernel, in the order of the first. */
export function describeLaunches({ name, dims, launches }: Pick<Entry, "name" | "dims" | "launches">): string {
  const counts = new Map<string, number>();
  for (const { kernel } of launches) counts.set(kernel.name, (counts.get(kernel.name) ?? 0) + 1);
  const counted = [...counts].map(([kernel, count]) => `${kernel} ${count}`).join(", ");
  return `${name}(${dims ?? ""}): ${launches.length} launches: ${counted}`;
}
