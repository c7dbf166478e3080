// Opens the device as a load does, since adapters may say more than they give, and asks how fast it is.
import type { Manifest, Source, Tier } from "../bundle/index.js";
import { openDevice } from "../device/adapter.js";
import { Memory } from "../device/memory.js";
import { largestKvBuffer } from "../engine/suits.js";
import { nameOf } from "../engine/verdicts.js";
import type { Speed } from "./report.js";
import { measured, tokensPerSecond } from "./speed.js";

/** Throws what a load throws. `kept` keeps what is measured, or says why nothing is to be measured. */
export async function tryDevice(
  adapter: GPUAdapter,
  manifest: Manifest,
  tier: Tier,
  { pages, firstPages }: { readonly pages: number; readonly firstPages: number },
  kept: Source | string,
): Promise<Speed> {
  const device = await openDevice(adapter, tier, largestKvBuffer(tier, pages));
  try {
    const memory = new Memory(device);
    const largest = Math.max(largestWeight(manifest), largestKvBuffer(tier, firstPages));
    await memory.scoped(() => memory.create("weight", "the largest buffer", largest, GPUBufferUsage.STORAGE));
    memory.destroy();
    const found = typeof kept === "string" ? undefined : await measured(nameOf(adapter.info), kept, device);
    const why = typeof kept === "string" ? kept : "The device could not be measured.";
    return found
      ? { ...found, tokensPerSecond: tokensPerSecond(tier.cost!, found), why: null }
      : { bandwidth: null, launch: null, tokensPerSecond: null, why };
  } finally {
    device.destroy();
  }
}

const largestWeight = ({ tensors }: Manifest): number =>
  [...tensors.values()].reduce((largest, { bytes }) => Math.max(largest, bytes), 0);
