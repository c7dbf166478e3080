// Holds what is loaded, and puts the same in its place where its device is lost or its worker stops.
import type { Warning } from "../bundle/index.js";
import type { Queue } from "../chat/index.js";
import type { Model } from "../decode/index.js";
import { type MlcwebError, UnloadedError } from "../errors.js";
import type { Loaded } from "./load.js";
import { giveUp, isLoss } from "./losses.js";
import { wrongModel } from "./tasks.js";

/** A device that is lost more often than this has a fault that loading does not mend. */
const MOST = 2,
  WITHIN_MS = 60_000;

/** What is loaded, of a model that answers prompts. */
export type Answering = Loaded & { readonly model: Model };
const isAnswering = (loaded: Loaded): loaded is Answering => loaded.model !== undefined;

/** Loads what was lost, until the signal fires. */
type LoadAgain = (lost: Loaded, signal: AbortSignal) => Promise<Loaded>;

/** What work runs on, which is another after a loss. */
export interface Running<Kind extends Loaded = Answering> {
  readonly now: () => Kind;
  /** After the error of what it ran on, does this on what is loaded in its place, and again where that is lost.
   * Rejects with an error that is no loss, and with the loss where nothing can be loaded. */
  readonly recover: <T>(error: unknown, work: (now: Kind) => T | Promise<T>) => Promise<T>;
}

export class Held {
  private loaded: Loaded | undefined;
  /** Undefined until the load has ended, and where the page wants none. */
  private load: LoadAgain | undefined;
  private onWarning: ((warning: Warning) => void) | undefined;
  /** Once for all who wait. */
  private replacing: Promise<void> | undefined;
  /** When loads began that followed a loss. */
  private begun: number[] = [];
  private readonly ending = new AbortController();

  constructor(
    loaded: Loaded,
    private readonly queue: Pick<Queue, "close" | "fail">,
  ) {
    this.loaded = loaded;
    this.watch(loaded);
  }

  recoverBy(load: LoadAgain, onWarning: ((warning: Warning) => void) | undefined): void {
    this.load = load;
    this.onWarning = onWarning;
  }

  /** Throws where it is unloaded, or has failed and is not loaded again. */
  alive(): Loaded {
    if (!this.loaded) throw new UnloadedError();
    try {
      this.loaded.guard.check();
    } catch (failure) {
      if (!this.recovers(failure)) throw failure;
    }
    return this.loaded;
  }

  /** Throws where the model answers no prompts, too. */
  answering(): Answering {
    const loaded = this.alive();
    if (!isAnswering(loaded)) throw wrongModel(loaded.manifest);
    return loaded;
  }

  /** The same, after it was loaded again where its device was lost before. */
  async whole(): Promise<Answering> {
    const { now, recover } = this.running();
    try {
      now().guard.check();
      return now();
    } catch (failure) {
      return recover(failure, (again) => again);
    }
  }

  running(): Running {
    return this.runningOn(() => this.answering());
  }

  /** Does it, and from the beginning where the device is lost meanwhile. */
  async lasting<T>(work: () => Promise<T>): Promise<T> {
    const { recover } = this.runningOn(() => this.alive());
    return work().catch((error) => recover(error, work));
  }

  /** Gives away what it holds. */
  take(): Loaded | undefined {
    const { loaded } = this;
    this.loaded = undefined;
    this.ending.abort();
    return loaded;
  }

  private runningOn<Kind extends Loaded>(get: () => Kind): Running<Kind> {
    let used = get();
    return {
      now: () => used,
      recover: async (error, work) => {
        for (;;) {
          await this.recover(error, used);
          used = get();
          try {
            return await work(used);
          } catch (next) {
            error = next;
          }
        }
      },
    };
  }

  /** Resolves when something is loaded in the place of `used`, which failed. */
  private async recover(error: unknown, used: Loaded): Promise<void> {
    const failure = await used.guard.why(error);
    if (!this.loaded) throw new UnloadedError();
    if (this.loaded !== used) return;
    if (!this.recovers(failure)) throw failure;
    this.replacing ??= this.replace(used, failure).finally(() => {
      this.replacing = undefined;
    });
    await this.replacing;
  }

  private async replace(used: Loaded, failure: MlcwebError): Promise<void> {
    free(used);
    const again = await this.loadAgain(used, failure);
    if (this.loaded !== used) return free(again); // it was unloaded meanwhile
    this.loaded = again;
    this.watch(again);
    again.ready();
    this.onWarning?.({ code: "recovered", message: `${failure.message} The model was loaded again.` });
  }

  /** Rejects with an error of the failure's class where it cannot be, and with UnloadedError after `take`. */
  private async loadAgain(used: Loaded, failure: MlcwebError): Promise<Loaded> {
    const { signal } = this.ending;
    for (;;) {
      const now = performance.now();
      this.begun = this.begun.filter((at) => Math.abs(now - at) < WITHIN_MS); // a clock may be set back
      if (this.begun.length >= MOST) throw giveUp(failure, failure, "it was the third time within a minute.");
      this.begun.push(now);
      try {
        return await this.load!(used, signal);
      } catch (cause) {
        if (signal.aborted) throw new UnloadedError();
        if (isLoss(cause)) continue;
        this.begun.pop(); // the device has nothing to do with it
        throw giveUp(failure, cause as MlcwebError);
      }
    }
  }

  private recovers(failure: unknown): failure is MlcwebError {
    return this.load !== undefined && isLoss(failure);
  }

  /** Tells those who wait when it fails. A hidden page may not be seen again: there, the next request loads again. */
  private watch(loaded: Loaded): void {
    loaded.guard.onFailure((failure) => {
      if (this.loaded !== loaded) return;
      if (!this.recovers(failure)) this.queue.close(failure);
      else if (globalThis.document?.visibilityState !== "hidden")
        this.recover(failure, loaded).catch((error) => this.queue.fail(error));
    });
  }
}

export function free({ guard, memory }: Pick<Loaded, "guard" | "memory">): void {
  guard.close();
  memory.destroy();
}
