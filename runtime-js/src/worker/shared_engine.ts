// Holds a model that several pages may use: it is loaded for the first, and freed when the last one leaves.
import type { Warning } from "../bundle/index.js";
import { Engine, type LoadOptions, type LoadProgress } from "../engine/index.js";
import { CancelledError } from "../errors.js";
import type { Session } from "./session.js";

export interface Listener {
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  readonly onWarning?: ((warning: Warning) => void) | undefined;
}

export class SharedEngine {
  private readonly users = new Map<Session, Listener>();
  private readonly stopping = new AbortController();
  private readonly loading: Promise<Engine>;
  private loaded: Engine | undefined;
  private progress: LoadProgress | undefined;
  private readonly warnings: Warning[] = [];

  constructor(url: string, options: LoadOptions) {
    this.loading = Engine.load(url, {
      ...options,
      signal: this.stopping.signal,
      onProgress: (progress) => {
        this.progress = progress;
        for (const { onProgress } of this.users.values()) onProgress?.(progress);
      },
      onWarning: (warning) => {
        this.warnings.push(warning);
        for (const { onWarning } of this.users.values()) onWarning?.(warning);
      },
    });
    this.loading.then(
      (engine) => {
        this.loaded = engine;
      },
      () => {
        this.failed = true;
      },
    );
  }

  private failed = false;

  /** The engine, once it is loaded. */
  get engine(): Engine | undefined {
    return this.loaded;
  }
  get shared(): boolean {
    return this.users.size > 1;
  }
  /** Whether nobody can use it any more: it failed, its GPU is lost, or all have left. */
  get over(): boolean {
    try {
      void this.loaded?.info;
      return this.failed || this.stopping.signal.aborted;
    } catch {
      return true;
    }
  }

  /** One more uses it. Rejects with CancelledError when its signal fires, which ends the load only if it was the last.
   * */
  async join(session: Session, listener: Listener, signal: AbortSignal): Promise<Engine> {
    this.users.set(session, listener);
    for (const other of this.users.keys()) other.wake();
    if (this.progress) listener.onProgress?.(this.progress);
    for (const warning of this.warnings) listener.onWarning?.(warning);
    let stop = (): void => {};
    const stopped = new Promise<never>((_, reject) => {
      stop = () => reject(new CancelledError("The load was cancelled.", signal.reason));
      if (signal.aborted) stop();
      signal.addEventListener("abort", stop, { once: true });
    });
    try {
      return await Promise.race([this.loading, stopped]);
    } catch (error) {
      await this.leave(session);
      throw error;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /** Frees the GPU when it was the last one; resolves when it is freed. */
  async leave(session: Session): Promise<void> {
    if (!this.users.delete(session) || this.users.size > 0) return;
    this.stopping.abort();
    await this.loading.then(
      (engine) => engine.unload(),
      () => {},
    );
  }
}
