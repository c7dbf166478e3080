// Remembers which of a bundle's kernels are right on this device: what the self-check of a load found, kept with the
// cached bundle. A new version of the browser, or a driver that the browser tells, is another device.
import type { Source, Tier, Warning } from "../bundle/index.js";
import type { Activations } from "./activations.js";

/** What is checked together: a tier, with one of its prefills. */
export interface Checked {
  readonly tier: Pick<Tier, "name" | "kernels">;
  readonly activations: Activations;
}
interface Kept {
  /** How far from the reference each was; null where that is no number. */
  readonly right: Record<string, number | null>;
  readonly wrong: Record<string, number | null>;
}
type Keeping = Pick<Source, "choice" | "keepChoice">;

export class Verdicts {
  private readonly found: Kept = { right: {}, wrong: {} };
  private keep: (() => Promise<void>) | undefined;
  private readonly told = new Set<string>();

  constructor(private readonly onWarning: ((warning: Warning) => void) | undefined) {}

  /** Reads what earlier loads found on this device, as `nameOf` calls it; later calls do nothing. */
  async open(source: Keeping, device: string): Promise<void> {
    if (this.keep) return;
    const name = `self-check, ${device}, ${globalThis.navigator?.userAgent ?? ""}`;
    this.keep = () => source.keepChoice(name, JSON.stringify(this.found));
    const kept = parse(await source.choice(name));
    Object.assign(this.found.right, kept?.right);
    Object.assign(this.found.wrong, kept?.wrong);
  }

  /** Whether an earlier check found it right: then it is not checked again. */
  isRight(checked: Checked): boolean {
    return keyOf(checked) in this.found.right;
  }

  /** Whether a check found it wrong; says so by a warning, once a load. */
  isWrong(checked: Checked): boolean {
    const key = keyOf(checked);
    if (!(key in this.found.wrong)) return false;
    if (!this.told.has(key)) this.onWarning?.({ code: "wrong-results", message: this.sentence(checked) });
    this.told.add(key);
    return true;
  }

  /** Notes what a check found. What cannot be kept is found again by the next load. */
  async note(checked: Checked, ok: boolean, difference: number): Promise<void> {
    (ok ? this.found.right : this.found.wrong)[keyOf(checked)] = Number.isFinite(difference) ? difference : null;
    await this.keep?.();
  }

  private sentence({ tier, activations }: Checked): string {
    const difference = this.found.wrong[keyOf({ tier, activations })];
    const how = difference == null ? "no finite numbers" : `${(100 * difference).toPrecision(2)} % off`;
    const what = activations === "float" ? `tier ${tier.name}` : `tier ${tier.name} with ${activations} prefill`;
    return `The ${what} computes wrong results on this device (${how}), and is not used.`;
  }
}

/** Names an adapter, as far as the browser tells it. */
export const nameOf = ({ vendor, architecture, device, description }: GPUAdapterInfo): string =>
  [vendor, architecture, device, description].join(" ");

/** The kernels' name has their hash. */
const keyOf = ({ tier, activations }: Checked): string => `${tier.kernels} ${activations}`;

function parse(text: string | undefined): Partial<Kept> | undefined {
  try {
    const kept: unknown = JSON.parse(text ?? "null");
    return typeof kept === "object" && kept !== null ? kept : undefined;
  } catch {
    return undefined; // what is damaged is found again
  }
}
