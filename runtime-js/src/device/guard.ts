// Watches a device. Once it is lost, or has reported an error that no scope caught, or the engine is unloaded, every
// pending and later operation rejects with one typed error instead of hanging or returning garbage.
import { DeviceLostError, GpuError, type MlcwebError, OutOfMemoryError, UnloadedError } from "../errors.js";

type Watched = Pick<GPUDevice, "lost" | "addEventListener" | "destroy">;

export class Guard {
  private error: MlcwebError | undefined;
  // Operations do not race against one shared promise: each race would leave a reaction on it for the device's life.
  private readonly pending = new Set<() => void>();

  constructor(private readonly device: Watched) {
    device.lost
      .then((info) => this.fail(new DeviceLostError(`The GPU device was lost: ${info.message || info.reason}.`)))
      .catch(() => {});
    device.addEventListener("uncapturederror", (event) => {
      const { error } = event as GPUUncapturedErrorEvent;
      const oom = typeof GPUOutOfMemoryError !== "undefined" && error instanceof GPUOutOfMemoryError;
      this.fail(
        oom
          ? new OutOfMemoryError(`The GPU is out of memory: ${error.message}`)
          : new GpuError(`The GPU reported an error: ${error.message}`),
      );
    });
  }

  /** Throws if the device is gone. */
  check(): void {
    if (this.error) throw this.error;
  }

  /** Calls `tell` with the device's failure, when there is one. */
  onFailure(tell: (error: MlcwebError) => void): void {
    if (this.error) tell(this.error);
    else this.pending.add(() => tell(this.error!));
  }

  /** The promise's result, or the device's failure, whichever comes first. */
  async race<T>(promise: Promise<T>): Promise<T> {
    this.check();
    try {
      return await this.unlessFailed(promise);
    } catch (error) {
      throw await this.why(error);
    }
  }

  /** Why an operation failed: the device's failure, where it has one, or else `error`. A lost device first refuses what
   * it is asked, and only then says why. */
  async why(error: unknown): Promise<unknown> {
    const reasons = [error, (error as Error | undefined)?.cause];
    if (!this.error && reasons.some((reason) => reason instanceof DOMException || reason instanceof GpuError))
      await this.unlessFailed(new Promise((resolve) => setTimeout(resolve, 100))).catch(() => {});
    return this.error ?? error;
  }

  private unlessFailed<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const stop = (): void => reject(this.error!);
      this.pending.add(stop);
      promise.then(resolve, reject).finally(() => this.pending.delete(stop));
    });
  }

  private fail(error: MlcwebError): void {
    if (this.error) return;
    this.error = error;
    for (const stop of this.pending) stop();
    this.pending.clear();
  }

  close(): void {
    this.fail(new UnloadedError());
    this.device.destroy();
  }
}
