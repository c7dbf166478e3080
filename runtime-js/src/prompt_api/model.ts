// Holds the engine that sessions share: a page's own, or one that is loaded from a bundle when the first session asks.
import type { CountingSource } from "../chat/source.js";
import type { LoadOptions } from "../engine/options.js";
import { unlessAborted } from "./answer.js";
import { exception, exceptionOf } from "./exceptions.js";
import type { Availability } from "./types.js";

type Unloading = CountingSource & { unload(): Promise<void> };
interface Loading {
  readonly engine: Promise<Unloading>;
  readonly stop: AbortController;
  readonly heard: Set<(fraction: number) => void>;
}

export class SharedModel {
  private loading: Loading | undefined;
  private loaded: Unloading | undefined;

  constructor(
    private readonly bundle: string | CountingSource,
    private readonly options: Omit<LoadOptions, "signal">,
  ) {}

  /** Whether the model takes pictures; undefined while nobody knows. */
  get images(): boolean | undefined {
    const known = typeof this.bundle === "string" ? this.loaded : this.bundle;
    return known && (known.info.images ?? false);
  }

  async availability(): Promise<Availability> {
    if (typeof this.bundle !== "string" || this.loaded) return "available";
    if (this.loading) return "downloading";
    const gpu = (globalThis.navigator as Navigator | undefined)?.gpu;
    if (!(await gpu?.requestAdapter().catch(() => null))) return "unavailable";
    const { isInCache } = await import("../engine/index.js");
    return (await isInCache(this.bundle).catch(() => false)) ? "available" : "downloadable";
  }

  /** The engine. Loads are shared; the last that leaves by its signal cancels one. */
  async open(signal: AbortSignal, onProgress: (fraction: number) => void): Promise<CountingSource> {
    if (typeof this.bundle !== "string") return this.bundle;
    if (this.loaded) return this.loaded;
    this.loading ??= this.load(this.bundle);
    const { loading } = this;
    loading.heard.add(onProgress);
    try {
      return await unlessAborted(signal, () => loading.engine);
    } catch (error) {
      throw exceptionOf(error, "OperationError");
    } finally {
      loading.heard.delete(onProgress);
      if (loading.heard.size === 0 && !this.loaded) {
        loading.stop.abort();
        if (this.loading === loading) this.loading = undefined;
      }
    }
  }

  /** Frees an engine that was loaded here, whose sessions end; the next session loads it again. */
  async unload(): Promise<void> {
    const { loaded, loading } = this;
    this.loaded = undefined;
    this.loading = undefined;
    loading?.stop.abort(exception("AbortError", "The model was unloaded."));
    await loaded?.unload();
  }

  private load(url: string): Loading {
    const heard: Loading["heard"] = new Set();
    const stop = new AbortController();
    const engine = (async () => {
      const { Engine } = await import("../engine/index.js");
      const loaded: Unloading = await Engine.load(url, {
        ...this.options,
        signal: stop.signal,
        onProgress: (progress) => {
          this.options.onProgress?.(progress);
          for (const tell of heard) tell(progress.fraction);
        },
      });
      if (stop.signal.aborted) {
        await loaded.unload();
        stop.signal.throwIfAborted();
      }
      this.loaded = loaded;
      return loaded;
    })();
    const loading = { engine, stop, heard };
    engine
      .catch(() => {}) // who waits for it hears of it
      .finally(() => {
        if (this.loading === loading) this.loading = undefined;
      });
    return loading;
  }
}
