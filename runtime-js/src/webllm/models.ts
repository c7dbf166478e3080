// Holds the models of an engine. Loads and unloads take place one after the other, so that none leaks: the later one
// stops the load before it.
import { throwIfAborted } from "../errors.js";
import { notLoaded, otherModel, unclearModel } from "./errors.js";
import type { LoadedModel } from "./model.js";

const OTHER = new DOMException("Another load began.", "AbortError");
const UNLOADED = new DOMException("The engine was unloaded.", "AbortError");

export class Models {
  private loaded = new Map<string, LoadedModel>();
  private loading: AbortController | undefined;
  /** Resolves when the last load or unload that was asked for has ended. */
  private settled: Promise<unknown> = Promise.resolve();

  get ids(): string[] {
    return [...this.loaded.keys()];
  }

  get all(): Iterable<LoadedModel> {
    return this.loaded.values();
  }

  /** Loads models in place of those that are there; none is left where one fails. Resolves with false where `unload`
   * stopped it. */
  replace(loads: readonly ((signal: AbortSignal) => Promise<LoadedModel>)[]): Promise<boolean> {
    this.stop(OTHER);
    const controller = new AbortController();
    this.loading = controller;
    return this.next(async () => {
      await this.free();
      try {
        for (const load of loads) {
          throwIfAborted(controller.signal);
          const model = await load(controller.signal);
          this.loaded.set(model.id, model);
        }
        throwIfAborted(controller.signal);
        return true;
      } catch (error) {
        await this.free();
        if (controller.signal.reason === UNLOADED) return false;
        throw error;
      } finally {
        if (this.loading === controller) this.loading = undefined;
      }
    });
  }

  /** Stops a load that is under way, and frees all models. */
  unload(): Promise<void> {
    this.stop(UNLOADED);
    return this.next(() => this.free());
  }

  /** The model that a request is for. Throws by WebLLM's name where that is none, or not clear. */
  pick(asked: string | null | undefined, request: string): LoadedModel {
    if (this.loaded.size === 0) throw notLoaded(request);
    if (asked != null) {
      const model = this.loaded.get(asked);
      if (!model) throw otherModel(this.ids, asked, request);
      return model;
    }
    if (this.loaded.size > 1) throw unclearModel(this.ids, request);
    return [...this.loaded.values()][0]!;
  }

  /** The same, and none where none is loaded, or not that one. */
  pickLoaded(asked: string | null | undefined, request: string): LoadedModel | undefined {
    if (this.loaded.size === 0 || (asked != null && !this.loaded.has(asked))) return undefined;
    return this.pick(asked, request);
  }

  private next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.settled.then(work);
    this.settled = done.catch(() => {});
    return done;
  }

  private stop(why: DOMException): void {
    this.loading?.abort(why);
    this.loading = undefined;
  }

  private async free(): Promise<void> {
    const models = [...this.loaded.values()];
    this.loaded = new Map();
    await Promise.all(models.map(({ engine }) => engine.unload()));
  }
}
