// Lists what a load fetches.
import type { Manifest, Tier } from "./manifest.js";

/** The tier's files and every weight chunk. A tier that binds fewer tensors may skip chunks. */
export function filesToLoad(manifest: Manifest, { plan, kernels }: Tier, chosen = kernels): string[] {
  const { tokenizer, config } = manifest.tokenizer;
  return [...new Set([plan, chosen, manifest.wasm, tokenizer, config, ...manifest.chunks])];
}

export const bytesOf = ({ files }: Manifest, names: readonly string[]): number =>
  names.reduce((sum, name) => sum + files.get(name)!.bytes, 0);
