// Holds what is loaded, and puts the same in its place where its device is lost or its worker stops.
import type { Queue } from "../chat/index.js";
import type { Model } from "../decode/index.js";
import { type MlcwebError, UnloadedError } from "../errors.js";
import type { Loaded } from "./load.js";
import { free, isLoss, Recovery } from "./recover.js";
import { wrongModel } from "./tasks.js";

/** What is loaded, of a model that answers prompts. */
export type Answering = Loaded & { readonly model: Model };
const isAnswering = (loaded: Loaded): loaded is Answering => loaded.model !== undefined;

export class Held {
  private loaded: Loaded | undefined;
  /** Undefined until the load has ended, and where the page wants none. */
  private recovery: Recovery | undefined;
  /** Once for all who wait. */
  private replacing: Promise<void> | undefined;

  constructor(
    loaded: Loaded,
    private readonly queue: Pick<Queue, "close" | "fail">,
  ) {
    this.loaded = loaded;
    this.watch(loaded);
  }

  recoverBy(...how: ConstructorParameters<typeof Recovery>): void {
    this.recovery = new Recovery(...how);
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
    const used = this.answering();
    try {
      used.guard.check();
    } catch (failure) {
      await this.recover(failure, used);
    }
    return this.answering();
  }

  /** What an answer runs on, which is another after its `recover`. */
  running(): Running {
    let used = this.answering();
    const recover = async (error: unknown): Promise<void> => {
      await this.recover(error, used);
      used = this.answering();
    };
    return { now: () => used, recover };
  }

  /** Does it, and from the beginning where the device is lost meanwhile. */
  async lasting<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      const used = this.alive();
      try {
        return await work();
      } catch (error) {
        await this.recover(error, used);
      }
    }
  }

  /** Gives away what it holds. */
  take(): Loaded | undefined {
    const { loaded } = this;
    this.loaded = undefined;
    this.recovery?.end();
    return loaded;
  }

  /** Resolves when something is loaded in the place of `used`, which failed. Rejects with the error where it was no
   * loss, and with the loss where nothing can be loaded. */
  private async recover(error: unknown, used: Loaded): Promise<void> {
    const failure = await used.guard.why(error);
    if (!this.loaded) throw new UnloadedError();
    if (this.loaded !== used) return;
    if (!this.recovers(failure)) throw failure;
    this.replacing ??= this.replace(used, failure as MlcwebError).finally(() => {
      this.replacing = undefined;
    });
    await this.replacing;
  }

  private async replace(used: Loaded, failure: MlcwebError): Promise<void> {
    const again = await this.recovery!.loadAgain(used, failure);
    if (this.loaded !== used) return free(again); // it was unloaded meanwhile
    this.loaded = again;
    this.watch(again);
    again.ready();
    this.recovery?.tell(failure);
  }

  private recovers(failure: unknown): boolean {
    return this.recovery !== undefined && isLoss(failure);
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

export interface Running {
  readonly now: () => Answering;
  /** Rejects where it cannot be loaded again after the error. */
  readonly recover: (error: unknown) => Promise<void>;
}
