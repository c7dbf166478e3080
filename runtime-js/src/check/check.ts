// Asks the manifest, the browser and the device what a load would meet, in the order in which it would.
import { type Manifest, resolveBundleUrl, Source, type Tier, type Warning } from "../bundle/index.js";
import { capabilities, describeAdapter, openDevice, requestAdapter, requireBuffer } from "../device/adapter.js";
import { Memory } from "../device/memory.js";
import { storageFacts } from "../device/storage.js";
import { fitTier, type Missing } from "../device/tier.js";
import { requireWasm } from "../device/wasm.js";
import { type CataloguedModel, findInCatalog } from "../engine/catalogued.js";
import { chooseContext, chooseFirstTokens } from "../engine/options.js";
import { tooSmall } from "../engine/quota.js";
import { largestKvBuffer, rightTier } from "../engine/suits.js";
import { nameOf, Verdicts } from "../engine/verdicts.js";
import { CancelledError, InvalidRequestError, MlcwebError, throwIfAborted } from "../errors.js";
import type { CheckOptions, EngineCheck, Reason, Speed } from "./report.js";
import { downloadOf, memoryOf } from "./sizes.js";
import { measured, tokensPerSecond } from "./speed.js";

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
  const pagesFor = (tokens: number): number => Math.ceil(tokens / manifest.model.page_size);
  const pages = pagesFor(contextLength),
    firstPages = pagesFor(chooseFirstTokens(contextLength, options.firstTokens));

  const reasons: Reason[] = [];
  /** What a step gives; undefined where it finds why the model does not run. */
  const meet = async <T>(step: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      throwIfAborted(signal);
      return await step();
    } catch (error) {
      if (!(error instanceof MlcwebError) || error instanceof InvalidRequestError || error instanceof CancelledError)
        throw error;
      reasons.push(error.toJSON());
      return undefined;
    }
  };

  await meet(requireWasm);
  const adapter = await meet(() => requestAdapter(powerPreference));
  const verdicts = options.selfCheck === false ? undefined : new Verdicts(onWarning);
  if (adapter) await verdicts?.open(source, adapter);
  const tier = adapter && (await meet(() => rightTier(manifest.tiers, capabilities(adapter), options.tier, verdicts)));
  const last = tier ?? manifest.tiers.at(-1)!;
  let speed = UNKNOWN;
  if (adapter && tier) {
    await meet(() => requireBuffer(adapter, tier, largestKvBuffer(tier, pages)));
    if (reasons.length === 0) {
      const needed = { adapter, tier, atLoad: largestAtLoad(manifest, tier, firstPages), pages };
      speed = (await meet(() => tryDevice(needed, source, options.measure ?? true))) ?? UNKNOWN;
    }
  }
  const [download, storage] = await Promise.all([
    downloadOf(manifest, last, source.base, cache !== false),
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
    tier: tier?.name ?? null,
    missing: adapter && !tier ? fitTier(named(manifest.tiers, options.tier), capabilities(adapter)).missing : NOTHING,
    adapter: adapter ? describeAdapter(adapter) : null,
    contextLength,
    memory: memoryOf(manifest, last, pages, firstPages),
    download,
    storage,
    speed: runs ? speed : { ...UNKNOWN, why: "The model does not run here." },
  };
}

const named = (tiers: readonly Tier[], name: string | undefined): readonly Tier[] =>
  tiers.filter((tier) => name === undefined || tier.name === name);

/** Bytes of the largest buffer that a load begins with. */
function largestAtLoad({ tensors }: Manifest, tier: Tier, firstPages: number): number {
  const weights = [...tensors.values()].map(({ bytes }) => bytes);
  return weights.reduce((largest, bytes) => Math.max(largest, bytes), largestKvBuffer(tier, firstPages));
}

interface Needed {
  readonly adapter: GPUAdapter;
  readonly tier: Tier;
  readonly atLoad: number;
  readonly pages: number;
}

/** Opens the device as a load does, makes the largest of its buffers, since adapters may say more than they give, and
 * measures how fast it is. Throws what a load throws. */
async function tryDevice({ adapter, tier, atLoad, pages }: Needed, source: Source, measure: boolean): Promise<Speed> {
  const device = await openDevice(adapter, tier, largestKvBuffer(tier, pages));
  try {
    const memory = new Memory(device);
    await memory.scoped(() => memory.create("weight", "the largest buffer", atLoad, GPUBufferUsage.STORAGE));
    memory.destroy();
    const none = whyNone(adapter, tier, measure);
    if (none) return { ...UNKNOWN, why: none };
    const found = await measured(nameOf(adapter.info), source, device);
    if (!found) return { ...UNKNOWN, why: "The device could not be measured." };
    return { ...found, tokensPerSecond: tokensPerSecond(tier.cost!, found), why: null };
  } finally {
    device.destroy();
  }
}

/** Why there is no estimate. */
function whyNone(adapter: GPUAdapter, { cost }: Tier, measure: boolean): string | undefined {
  if (!measure) return "It was not asked for.";
  if (describeAdapter(adapter).software) return "The CPU does the adapter's work: memory is not what limits it.";
  if (!cost) return "The bundle does not say what a token reads: compile it again.";
  if (cost.token_launches === 0) return "The model decodes no tokens.";
  return undefined;
}
