// Asks the manifest, the browser and the device what a load would meet, in the order in which it would.
import { type Manifest, resolveBundleUrl, Source, type Tier, type Warning } from "../bundle/index.js";
import { kernelsFor } from "../cpu/features.js";
import { requireRoom } from "../cpu/layout.js";
import { capabilities, describeAdapter, requireBuffer } from "../device/adapter.js";
import { storageFacts } from "../device/storage.js";
import { fitTier, isCpuTier, type Missing, NO_ADAPTER } from "../device/tier.js";
import { requireWasm } from "../device/wasm.js";
import { type CataloguedModel, findInCatalog } from "../engine/catalogued.js";
import { chooseContext, chooseFirstTokens } from "../engine/options.js";
import { tooSmall } from "../engine/quota.js";
import { chooseFor, findAdapter, largestKvBuffer } from "../engine/suits.js";
import { Verdicts } from "../engine/verdicts.js";
import { CancelledError, InvalidRequestError, MlcwebError, NoWebGPUError, throwIfAborted } from "../errors.js";
import { tryDevice } from "./device.js";
import type { CheckOptions, EngineCheck, Reason, Speed } from "./report.js";
import { downloadOf, memoryOf } from "./sizes.js";

const NOTHING: Missing = { features: [], limits: [] };
const UNKNOWN: Speed = { bandwidth: null, launch: null, tokensPerSecond: null, why: null };

export async function check(model: string | CataloguedModel, options: CheckOptions): Promise<EngineCheck> {
  const { signal, fetch, cache, powerPreference } = options;
  throwIfAborted(signal);
  const warnings: Warning[] = [];
  const onWarning = (warning: Warning): void => void warnings.push(warning);
  const asked = { signal, fetch, cache, onWarning };
  const url = typeof model === "string" ? model : await findInCatalog(model, { ...asked, powerPreference }, true);
  const source = await Source.open(url, { ...asked, keepManifest: false });
  const manifest = await source.manifest();
  const contextLength = chooseContext(manifest, options.contextLength);
  const firstTokens = chooseFirstTokens(contextLength, options.firstTokens);
  const pagesFor = (tokens: number): number => Math.ceil(tokens / manifest.model.page_size);
  const sizes = { pages: pagesFor(contextLength), firstPages: pagesFor(firstTokens) };

  const { meet, reasons } = meeting(signal);
  await meet(requireWasm);
  const found = await meet(() => findAdapter(manifest, options));
  const adapter = found instanceof NoWebGPUError ? undefined : found;
  const verdicts = options.selfCheck === false ? undefined : new Verdicts(onWarning);
  // Without an adapter, and without a tier that needs none, the reason is there already.
  const chosen =
    found || namesCpu(options) ? await meet(() => chooseFor(manifest, adapter, options, source, verdicts)) : undefined;
  const tier = chosen ?? manifest.tiers.at(-1)!;
  const onCpu = isCpuTier(tier);
  const memory = memoryOf(manifest, tier, sizes.pages, onCpu ? sizes.pages : sizes.firstPages);
  let speed: Speed = { ...UNKNOWN, why: CPU_WORKS };
  let kernels: string | undefined;
  if (chosen && onCpu) {
    kernels = await meet(() => kernelsFor(tier));
    await meet(() => requireRoom(memory.total));
  } else if (chosen && adapter) {
    await meet(() => requireBuffer(adapter, tier, largestKvBuffer(tier, sizes.pages)));
    if (reasons.length === 0) {
      const wanted = whyNone(adapter, tier, options.measure ?? true) ?? source;
      const tried = await meet(() => tryDevice(adapter, manifest, tier, sizes, wanted));
      speed = tried ?? speed;
    }
  }
  const [download, storage] = await Promise.all([
    downloadOf(manifest, tier, kernels, cache === false ? undefined : source.base),
    storageFacts(),
  ]);
  const small = cache === false ? undefined : tooSmall(download.fetch, storage.left);
  if (small) warnings.push(small);
  const runs = reasons.length === 0;
  return {
    name: manifest.name,
    url: resolveBundleUrl(url).base,
    runs,
    reasons,
    warnings,
    tier: chosen?.name ?? null,
    missing: chosen ? NOTHING : lackingHere(manifest, adapter, options.tier),
    adapter: adapter ? describeAdapter(adapter) : null,
    noWebGPU:
      found instanceof NoWebGPUError ? found.toJSON() : (reasons.find(({ code }) => code === "no-webgpu") ?? null),
    contextLength,
    memory,
    download,
    storage,
    speed: runs ? speed : { ...UNKNOWN, why: "The model does not run here." },
  };
}

/** Runs steps of a load, and gathers the reasons for which they fail. */
function meeting(signal: AbortSignal | undefined) {
  const reasons: Reason[] = [];
  const meet = async <T>(step: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      throwIfAborted(signal);
      return await step();
    } catch (error) {
      const other = error instanceof InvalidRequestError || error instanceof CancelledError;
      if (other || !(error instanceof MlcwebError)) throw error;
      reasons.push(error.toJSON());
      return undefined;
    }
  };
  return { meet, reasons };
}

const namesCpu = ({ tier }: CheckOptions): boolean => isCpuTier({ name: tier });

/** What the device lacks for the tier that needs least, of those that may be taken. */
function lackingHere({ tiers }: Manifest, adapter: GPUAdapter | undefined, named: string | undefined): Missing {
  const admitted = tiers.filter(({ name }) => named === undefined || name === named);
  return fitTier(admitted, adapter ? capabilities(adapter) : NO_ADAPTER).missing;
}

const CPU_WORKS = "The CPU does the work: memory is not what limits it.";

/** Why there is no estimate of the speed. */
function whyNone(adapter: GPUAdapter, { cost }: Tier, measure: boolean): string | undefined {
  if (!measure) return "It was not asked for.";
  if (describeAdapter(adapter).software) return CPU_WORKS;
  if (!cost) return "The bundle does not say what a token reads: compile it again.";
  if (cost.token_launches === 0) return "The model decodes no tokens.";
  return undefined;
}
