// Loads a model again when its device is lost, or the worker that it runs in stops.
import type { Warning } from "../bundle/index.js";
import { DeviceLostError, type MlcwebError, UnloadedError, WorkerError } from "../errors.js";
import type { Loaded } from "./load.js";

/** A device that is lost more often than this has a fault that loading does not mend. */
const MOST = 2,
  WITHIN_MS = 60_000;

/** Whether the model may run on another device, or in another worker. */
export const isLoss = (error: unknown): error is MlcwebError =>
  error instanceof DeviceLostError || error instanceof WorkerError;

/** Loads what was lost, until the signal fires. */
export type LoadAgain = (lost: Loaded, signal: AbortSignal) => Promise<Loaded>;

export function free({ guard, memory }: Pick<Loaded, "guard" | "memory">): void {
  guard.close();
  memory.destroy();
}

export class Recovery {
  private readonly begun: number[] = [];
  private readonly ending = new AbortController();

  constructor(
    private readonly load: LoadAgain,
    private readonly onWarning: ((warning: Warning) => void) | undefined,
  ) {}

  /** Ends a load that is under way. */
  end(): void {
    this.ending.abort(new UnloadedError());
  }

  /** Frees what is lost, and loads the same again. Rejects with an error of the failure's class where that cannot be,
   * and with UnloadedError after `end`. */
  async loadAgain(lost: Loaded, failure: MlcwebError): Promise<Loaded> {
    const { signal } = this.ending;
    free(lost);
    for (;;) {
      this.count(failure);
      try {
        return await this.load(lost, signal);
      } catch (cause) {
        if (signal.aborted) throw new UnloadedError();
        if (isLoss(cause)) continue;
        this.begun.pop(); // the device has nothing to do with it
        throw again(failure, `It could not be loaded again: ${(cause as Error).message}`, cause);
      }
    }
  }

  tell(failure: MlcwebError): void {
    this.onWarning?.({ code: "recovered", message: `${failure.message} The model was loaded again.` });
  }

  /** Throws where it was loaded too often. */
  private count(failure: MlcwebError): void {
    const now = performance.now();
    const lately = this.begun.filter((at) => Math.abs(now - at) < WITHIN_MS); // a clock may be set back
    if (lately.length >= MOST)
      throw again(failure, `That was ${MOST + 1} times within a minute, so it was not loaded again.`, failure);
    this.begun.splice(0, Infinity, ...lately, now);
  }
}

function again(failure: MlcwebError, why: string, cause: unknown): MlcwebError {
  const Kind = failure instanceof WorkerError ? WorkerError : DeviceLostError;
  return new Kind(`${failure.message} ${why}`, "Load the model again.", { cause });
}
