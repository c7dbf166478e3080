// Lists what a load fetches.
import type { Manifest, Tier } from "./manifest.js";
import type { Listed } from "./store.js";

/** The tier's files and every weight chunk. A tier that binds fewer tensors may skip chunks. */
export function filesToLoad(manifest: Manifest, { plan, kernels }: Tier, chosen = kernels): string[] {
  const { tokenizer, config } = manifest.tokenizer;
  return [...new Set([plan, chosen, manifest.wasm, tokenizer, config, ...manifest.chunks])];
}

/** What `listCached` found of a file; undefined where it is not there, or was not written to its end. */
export function foundOf({ files }: Manifest, listed: ReadonlyMap<string, Listed>, name: string): Listed | undefined {
  const { sha256, bytes } = files.get(name)!;
  const found = listed.get(`${name}?sha256=${sha256}`);
  return found && (found.bytes ?? Infinity) >= bytes ? found : undefined;
}

export const bytesOf = ({ files }: Manifest, names: readonly string[]): number =>
  names.reduce((sum, name) => sum + files.get(name)!.bytes, 0);
