// Says whether a bundle is kept for the next load, and forgets it.
import { chunkRanges, deleteCached, foundOf, listCached, parseManifest, resolveBundleUrl } from "../bundle/index.js";
import { MlcwebError } from "../errors.js";
import { parsePlan } from "../plan/index.js";

/** Forgets the cached files of the bundle at a URL, or those of them that `which` says; returns how many there were. */
export const deleteFromCache = (url: string, which?: (file: string) => boolean): Promise<number> =>
  deleteCached(resolveBundleUrl(url).base, which);

/** Whether everything is kept that a load of the bundle at a URL needs, for one of its tiers. */
export async function isInCache(url: string): Promise<boolean> {
  const { base } = resolveBundleUrl(url);
  const kept = await listCached(base);
  const text = await kept.get("mlcweb.json")?.text?.();
  if (text === undefined) return false;
  try {
    const manifest = parseManifest(text);
    const found = (file: string): ReturnType<typeof foundOf> => foundOf(manifest, kept, file);
    const has = (file: string): boolean => found(file) !== undefined;
    const { tokenizer, config } = manifest.tokenizer;
    if (![manifest.wasm, tokenizer, config].every(has)) return false;
    for (const tier of manifest.tiers.filter(({ plan, kernels }) => has(plan) && has(kernels))) {
      const plan = await found(tier.plan)!.text?.();
      const weights = parsePlan(plan ?? "", manifest, tier.name).buffers.filter(({ kind }) => kind === "weight");
      const ranges = chunkRanges(
        manifest,
        weights.map(({ name }) => name),
      );
      if (ranges.every((range, i) => range.length === 0 || has(manifest.chunks[i]!))) return true;
    }
    return false;
  } catch (error) {
    if (error instanceof MlcwebError) return false; // what is damaged is fetched again
    throw error;
  }
}
