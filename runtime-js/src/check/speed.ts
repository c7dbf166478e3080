// Estimates tokens a second from a short measurement of the device: how fast it copies, and how fast launches follow
// one another. docs/performance.md says where the two shares come from.
import type { Source } from "../bundle/index.js";
import type { TierCost } from "../contract/index.js";
import { copySpeed, launchTime } from "../profile/peak.js";
import { openTimer } from "../profile/timer.js";

export interface Measured {
  /** Bytes read and written in a second, in a plain copy. */
  readonly bandwidth: number;
  /** Seconds from one small launch to the next. */
  readonly launch: number;
}

/** The rate at which decode's kernels read weights, as a share of a copy's. */
const READS = 0.65;
/** How many times a small launch's time one of decode's takes beside its reading. */
const LAUNCHES = 1.25;
/** Bytes that a launch of the measurement copies, and that all of its buffers have, so that no cache holds them. */
const COPIED = 32e6,
  MOST = 160e6;
const REPEATS = 3;

/** What was measured since the page began, by adapter. */
const known = new Map<string, Measured>();

/** What an earlier check measured on this adapter, or else what this one does. Undefined where the device fails. */
export async function measured(
  adapter: string,
  source: Pick<Source, "choice" | "keepChoice">,
  device: GPUDevice,
): Promise<Measured | undefined> {
  const name = `speed, ${adapter}`;
  const before = known.get(name) ?? parse(await source.choice(name));
  const found = before ?? (await measure(device).catch(() => undefined));
  if (!found) return undefined;
  known.set(name, found);
  if (!before) await source.keepChoice(name, JSON.stringify(found));
  return found;
}

/** Of weights that are read, and launches that follow one another. */
export const tokensPerSecond = ({ token_weights, token_launches }: TierCost, { bandwidth, launch }: Measured): number =>
  1 / (token_launches * launch * LAUNCHES + token_weights / (bandwidth * READS));

async function measure(device: GPUDevice): Promise<Measured | undefined> {
  device.pushErrorScope("validation");
  device.pushErrorScope("out-of-memory");
  const timer = await openTimer(device, "wall");
  const bandwidth = await copySpeed(device, timer, COPIED, REPEATS, MOST);
  const launch = (await launchTime(device, timer, REPEATS)) * 1e-6;
  timer.destroy();
  const errors = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
  const sound = [bandwidth, launch].every((value) => Number.isFinite(value) && value > 0);
  return sound && errors.every((error) => error === null) ? { bandwidth, launch } : undefined;
}

function parse(text: string | undefined): Measured | undefined {
  try {
    const { bandwidth, launch } = JSON.parse(text ?? "{}") as Partial<Measured>;
    return bandwidth! > 0 && launch! > 0 ? { bandwidth: bandwidth!, launch: launch! } : undefined;
  } catch {
    return undefined; // what is damaged is measured again
  }
}
