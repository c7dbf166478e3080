// Makes what stands for the global `LanguageModel`: the browser's own where it can, and ours elsewhere.
import type { CountingSource } from "../chat/source.js";
import type { LoadOptions } from "../engine/options.js";
import { exception, notSupported } from "./exceptions.js";
import { keeping, parseInput } from "./input.js";
import { SharedModel } from "./model.js";
import { Session } from "./session.js";
import { PARAMS, parseSettings } from "./settings.js";
import type { Availability, CoreOptions, CreateOptions, Params } from "./types.js";

export interface LanguageModelOptions {
  /** A bundle's URL, which the first session loads, or an engine. */
  readonly bundle: string | CountingSource;
  /** Take the browser's own model where it has one that suits; true by default. */
  readonly preferNative?: boolean | undefined;
  /** How a bundle is loaded, such as its contextLength. */
  readonly load?: Omit<LoadOptions, "signal"> | undefined;
}

/** What the global `LanguageModel` has. */
export interface LanguageModelStatic {
  availability(options?: CoreOptions): Promise<Availability>;
  create(options?: CreateOptions): Promise<Session>;
  params(): Promise<Params | null>;
  /** Frees an engine that was loaded for sessions, which end. */
  unload(): Promise<void>;
}

const OURS = Symbol.for("mlcweb.LanguageModel");
type Native = Omit<LanguageModelStatic, "unload"> & { [OURS]?: true };
const globals = globalThis as { LanguageModel?: Native };

export function createLanguageModel(options: LanguageModelOptions): LanguageModelStatic {
  const model = new SharedModel(options.bundle, options.load ?? {});
  const native = async (asked: CoreOptions): Promise<Native | undefined> => {
    const { LanguageModel: found } = globals;
    if (options.preferNative === false || !found || found[OURS]) return undefined;
    const availability = await found.availability(asked).catch(() => "unavailable");
    return availability === "unavailable" ? undefined : found;
  };
  return class LanguageModel extends Session {
    static readonly [OURS] = true;

    static async availability(asked: CoreOptions = {}): Promise<Availability> {
      const own = await native(asked);
      if (own) return own.availability(asked);
      try {
        if (parseSettings(asked).images && model.images === false) return "unavailable";
      } catch (error) {
        if (error instanceof DOMException) return "unavailable";
        throw error;
      }
      return model.availability();
    }

    static async create(asked: CreateOptions = {}): Promise<Session> {
      const { signal, monitor } = asked;
      signal?.throwIfAborted();
      const own = await native(asked);
      if (own) return own.create(asked);
      const settings = parseSettings(asked);
      const initial = asked.initialPrompts ? parseInput(asked.initialPrompts, false, settings.images) : undefined;
      if (initial?.prefix) throw exception("SyntaxError", "A prefix is for prompt, and not for initialPrompts.");
      if ((await model.availability()) === "unavailable") throw notSupported("This browser has no WebGPU adapter.");
      const tell = progressOf(monitor);
      tell(0);
      const source = await model.open(signal ?? new AbortController().signal, tell);
      tell(1);
      if (settings.images && !source.info.images) throw notSupported("This model takes no pictures.");
      const session = new LanguageModel(source, settings);
      if (asked.initialPrompts?.length) await session.begin((await keeping(initial!)).messages);
      signal?.throwIfAborted();
      signal?.addEventListener("abort", () => session.destroy(signal.reason), { once: true });
      return session;
    }

    static async params(): Promise<Params | null> {
      return { ...PARAMS };
    }

    static async unload(): Promise<void> {
      await model.unload();
    }
  };
}

/** Sets the global `LanguageModel` where the browser has none; gives what is there then. */
export function install(options: LanguageModelOptions): Native {
  globals.LanguageModel ??= createLanguageModel(options);
  return globals.LanguageModel;
}

/** Tells a monitor of fractions that grow. Older browsers' ProgressEvent has whole numbers only. */
function progressOf(monitor: CreateOptions["monitor"]): (fraction: number) => void {
  const target = new EventTarget() as EventTarget & { ondownloadprogress?: ((event: Event) => unknown) | null };
  monitor?.(target);
  let last = -1;
  return (loaded) => {
    if (loaded <= last) return;
    last = loaded;
    const event = Object.assign(new Event("downloadprogress"), { loaded, total: 1, lengthComputable: true });
    target.ondownloadprogress?.call(target, event);
    target.dispatchEvent(event);
  };
}
