// Computes from the manifest what a load takes: GPU memory by context length, and bytes to download.
import { bytesOf, filesToLoad, listCached, type Manifest, type Tier } from "../bundle/index.js";
import type { EngineCheck } from "./report.js";

/** When the KV cache has room for `pages`, of which a load begins with `firstPages`. */
export function memoryOf({ memory, model }: Manifest, { cost }: Tier, pages: number, firstPages: number) {
  // An older bundle tells of its largest tier alone, and of less.
  const weights = cost?.weights ?? memory.weights,
    other = cost?.other ?? memory.scratch,
    page = cost?.kv_page ?? memory.kvPerToken * model.page_size;
  const total = weights + other + page * pages;
  return { weights, kv: page * pages, other, total, atLoad: total - page * (pages - firstPages) };
}

/** `kept`: whether a load looks for kept files. */
export async function downloadOf(
  manifest: Manifest,
  tier: Tier,
  base: string,
  kept: boolean,
): Promise<EngineCheck["download"]> {
  const names = filesToLoad(manifest, tier);
  const there = kept ? await listCached(base) : new Map();
  const held = names.filter((name) => there.has(`${name}?sha256=${manifest.files.get(name)!.sha256}`));
  const [total, heldBytes] = [bytesOf(manifest, names), bytesOf(manifest, held)];
  return { total, kept: heldBytes, fetch: total - heldBytes };
}
