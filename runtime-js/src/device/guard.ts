// Watches a device: once it is lost, or has reported an error that no scope caught, or the engine is unloaded,
// every pending and later operation rejects with one typed error instead of hanging or returning garbage.
import { DeviceLostError, GpuError, type MlcwebError, OutOfMemoryError, UnloadedError } from "../errors.js";

type Watched = Pick<GPUDevice, "lost" | "addEventListener" | "destroy">;

export class Guard {
  private error: MlcwebError | undefined;
  private readonly failed: Promise<never>;
  private fail!: (error: MlcwebError) => void;

  constructor(private readonly device: Watched) {
    this.failed = new Promise((_, reject) => {
      this.fail = (error) => {
        if (this.error) return;
        this.error = error;
        reject(error);
      };
    });
    this.failed.catch(() => {});
    device.lost.then((info) => this.fail(new DeviceLostError(`The GPU device was lost: ${info.message || info.reason}.`))).catch(() => {});
    device.addEventListener("uncapturederror", (event) => {
      const { error } = event as GPUUncapturedErrorEvent;
      const oom = typeof GPUOutOfMemoryError !== "undefined" && error instanceof GPUOutOfMemoryError;
      this.fail(oom ? new OutOfMemoryError(`The GPU is out of memory: ${error.message}`) : new GpuError(`The GPU reported an error: ${error.message}`));
    });
  }

  /** Throws if the device is gone. */
  check(): void {
    if (this.error) throw this.error;
  }

  /** The promise's result, or the device's failure, whichever comes first. */
  async race<T>(promise: Promise<T>): Promise<T> {
    this.check();
    try {
      return await Promise.race([promise, this.failed]);
    } catch (error) {
      // A lost device first rejects its map requests, and only then says why.
      if (!this.error && error instanceof DOMException) await Promise.race([this.failed.catch(() => {}), new Promise((r) => setTimeout(r, 100))]);
      this.check();
      throw error;
    }
  }

  close(): void {
    this.fail(new UnloadedError());
    this.device.destroy();
  }
}
