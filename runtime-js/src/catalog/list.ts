// Lists a catalog's models for this device: what fits and what does not, and why, before anything is downloaded.
import type { CatalogModel, CatalogTier } from "../contract/index.js";
import { capabilities, type PowerPreference, requestAdapter } from "../device/adapter.js";
import { type Capabilities, fitTier, inWords, NO_ADAPTER, withoutBlind } from "../device/tier.js";
import { requireWasm } from "../device/wasm.js";
import { NoWasmError, NoWebGPUError } from "../errors.js";
import { type ReadOptions, readCatalog } from "./read.js";

export interface ListOptions extends ReadOptions {
  /** Tokens that a conversation is to have, for `memory`; by default the model's, at most 4096. */
  readonly contextLength?: number | undefined;
  readonly powerPreference?: PowerPreference | undefined;
}

export interface ListedModel extends Omit<CatalogModel, "url"> {
  /** The bundle's absolute URL, for Engine.load. */
  readonly url: string;
  /** Whether this device has the features and limits of a tier. */
  readonly fits: boolean;
  /** The tier that this device runs; undefined where it runs none. */
  readonly tier: string | undefined;
  /** What this device lacks for the tier that needs least; empty where the model fits. */
  readonly missing: readonly string[];
  /** Why it does not fit, in a sentence. */
  readonly why: string | undefined;
  /** Bytes of GPU memory at `contextLength`, or at the next context that the catalog tells; the browser does not tell
   * how many there are. */
  readonly memory: number;
}

/** The models of the catalog at a URL: first what fits, the smallest download first. */
export async function listModels(catalogUrl: string, options: ListOptions = {}): Promise<ListedModel[]> {
  const [catalog, device] = await Promise.all([readCatalog(catalogUrl, options), openDevice(options)]);
  return catalog.models
    .map((model) => listed(model, catalog.urlOf(model), device, options.contextLength))
    .sort((a, b) => Number(b.fits) - Number(a.fits) || a.bytes - b.bytes);
}

type Device = Capabilities | NoWebGPUError | NoWasmError;

async function openDevice({ powerPreference }: ListOptions): Promise<Device> {
  try {
    await requireWasm();
    return capabilities(await requestAdapter(powerPreference));
  } catch (error) {
    if (error instanceof NoWebGPUError || error instanceof NoWasmError) return error;
    throw error;
  }
}

function listed(model: CatalogModel, url: string, device: Device, contextLength = 4096): ListedModel {
  const { tier, missing, why } = suit(model, device);
  const { memory } = tier ?? model.tiers.at(-1)!;
  const wanted = Math.min(contextLength, model.context_length);
  const { bytes } = memory.find(({ context }) => context >= wanted) ?? memory.at(-1)!;
  return { ...model, url, fits: tier !== undefined, tier: tier?.name, missing, why, memory: bytes };
}

interface Suited {
  readonly tier: CatalogTier | undefined;
  readonly missing: readonly string[];
  readonly why: string | undefined;
}

function suit({ tiers, images }: CatalogModel, device: Device): Suited {
  if (device instanceof NoWasmError) return { tier: undefined, missing: ["WebAssembly"], why: device.message };
  const has = device instanceof NoWebGPUError ? NO_ADAPTER : device;
  const needed = tiers.map((tier) => ({ ...tier, limits: new Map(Object.entries(tier.limits)) }));
  const { tier, missing } = fitTier(images ? withoutBlind(needed, has) : needed, has);
  const words = inWords(missing);
  if (tier) return { tier: tiers[needed.indexOf(tier)], missing: words, why: undefined };
  const why = device instanceof NoWebGPUError ? device.message : `This GPU lacks ${words.join(", ")}.`;
  return { tier, missing: words, why };
}
