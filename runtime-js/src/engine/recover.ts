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
  private running: Promise<Loaded> | undefined;

  constructor(
    private readonly load: LoadAgain,
    private readonly onWarning: ((warning: Warning) => void) | undefined,
  ) {}

  /** Frees what is lost, and loads the same again, once for all who ask. Rejects with an error of the failure's class
   * where that cannot be. */
  loadAgain(lost: Loaded, failure: MlcwebError): Promise<Loaded> {
    this.running ??= this.run(lost, failure).finally(() => {
      this.running = undefined;
    });
    return this.running;
  }

  /** Ends a load that is under way. */
  end(): void {
    this.ending.abort(new UnloadedError());
  }

  private async run(lost: Loaded, failure: MlcwebError): Promise<Loaded> {
    const { signal } = this.ending;
    free(lost);
    for (;;) {
      this.count(failure);
      try {
        const loaded = await this.load(lost, signal);
        if (signal.aborted) free(loaded);
        else this.onWarning?.({ code: "recovered", message: `${failure.message} The model was loaded again.` });
        return loaded;
      } catch (cause) {
        if (signal.aborted) throw new UnloadedError();
        if (!isLoss(cause)) throw again(failure, `It could not be loaded again: ${(cause as Error).message}`, cause);
      }
    }
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
