// Computes from the manifest what a load takes: memory by context length, and bytes to download.
import { bytesOf, filesToLoad, foundOf, listCached, type Manifest, type Tier } from "../bundle/index.js";
import type { EngineCheck } from "./report.js";

/** When the KV cache has room for `pages`, of which a load begins with `firstPages`. */
export function memoryOf(
  { memory, model }: Manifest,
  { cost }: Tier,
  pages: number,
  firstPages: number,
): EngineCheck["memory"] {
  // An older bundle tells of its largest tier alone, and of less.
  const weights = cost?.weights ?? memory.weights,
    other = cost?.other ?? memory.scratch,
    page = cost?.kv_page ?? memory.kvPerToken * model.page_size;
  const total = weights + other + page * pages;
  return { weights, kv: page * pages, other, total, atLoad: total - page * (pages - firstPages) };
}

/** Of the tier's `kernels`, where it has several. `base` is that of kept files, where a load looks for some. */
export async function downloadOf(
  manifest: Manifest,
  tier: Tier,
  kernels: string | undefined,
  base: string | undefined,
): Promise<EngineCheck["download"]> {
  const names = filesToLoad(manifest, tier, kernels);
  const listed = base === undefined ? new Map() : await listCached(base);
  const held = names.filter((name) => foundOf(manifest, listed, name));
  const [total, heldBytes] = [bytesOf(manifest, names), bytesOf(manifest, held)];
  return { total, kept: heldBytes, fetch: total - heldBytes };
}
