// Says what a bundle is and what this device lacks for each of its tiers. Fetches and verifies every file of it, as a
// load does with those of one tier. `mlcweb validate` asks for both.
import { Source } from "../src/bundle/index.js";
import { capabilities, requestAdapter } from "../src/device/adapter.js";
import { inTurn, missingFor } from "../src/device/tier.js";
import { BundleError, IntegrityError, type MlcwebError, WebPageError } from "../src/errors.js";

export interface Description {
  readonly name: string;
  readonly files: number;
  readonly bytes: number;
  /** Whether it holds an expected answer. */
  readonly validation: boolean;
  /** Best first for this device, each with the features and limits that this device lacks. */
  readonly tiers: readonly { readonly name: string; readonly missing: readonly string[] }[];
}

/** Reads the manifest. Throws the engine's errors, and NoWebGPUError where there is no device to ask. */
export async function describeBundle(url: string): Promise<Description> {
  const manifest = await (await Source.open(url, { cache: false })).manifest();
  const device = capabilities(await requestAdapter());
  return {
    name: manifest.name,
    files: manifest.files.size,
    bytes: [...manifest.files.values()].reduce((sum, { bytes }) => sum + bytes, 0),
    validation: manifest.validation !== undefined,
    tiers: inTurn(manifest.tiers, device).map((tier) => ({ name: tier.name, missing: missingFor(tier, device) })),
  };
}

export interface Damage {
  readonly file: string;
  readonly message: string;
  readonly hint: string;
}

/** Verifies every file, three at a time as a load does, and keeps them for the loads that follow. Returns those that
 * are damaged or missing; throws what else goes wrong, such as a host that is gone. */
export async function verifyFiles(
  url: string,
  onProgress: (loadedBytes: number, totalBytes: number) => void,
): Promise<Damage[]> {
  let loaded = 0;
  let total = 0;
  const source = await Source.open(url, {
    onBytes: (bytes) => {
      loaded += bytes;
      onProgress(loaded, total);
    },
  });
  const manifest = await source.manifest();
  for (const { bytes } of manifest.files.values()) total += bytes;
  onProgress(0, total);
  const damaged: Damage[] = [];
  const waiting = [...manifest.files.keys()];
  const worker = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      try {
        await source.file(manifest, file);
      } catch (error) {
        if (!isDamage(error)) throw error;
        damaged.push({ file, message: error.message, hint: error.hint });
      }
    }
  };
  const ended = await Promise.allSettled([worker(), worker(), worker()]);
  for (const end of ended) if (end.status === "rejected") throw end.reason;
  return damaged;
}

const isDamage = (error: unknown): error is MlcwebError =>
  error instanceof IntegrityError || error instanceof BundleError || error instanceof WebPageError;
