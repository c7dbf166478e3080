// Offers engines to pages: Engine's methods by name. Pages that ask for the same bundle with the same options share
// one engine.
import type { Engine, LoadOptions } from "../engine/index.js";
import { type MlcwebError, UnloadedError } from "../errors.js";
import { errorToJson } from "./error_json.js";
import type { CallContext, Methods, ServeOptions, Session } from "./session.js";
import { type Listener, SharedEngine } from "./shared_engine.js";

export const SERVICE = "engine";

/** Options of a load that the worker's script gives, since they cannot cross. */
export type Own = Pick<LoadOptions, "fetch" | "constrain" | "embed" | "images">;

/** What a page hears of its engine with the end of a call. */
export type Facts = { readonly info: Engine["info"] } | { readonly error: ReturnType<typeof errorToJson> };

/** Calls after which `info` is another. */
const CHANGING = ["load", "chat.completions.create", "completions.create", "generate", "replaySteps", "reset"];

export class EngineHost {
  private readonly engines = new Map<string, SharedEngine>();
  private readonly of = new Map<Session, SharedEngine>();

  constructor(private readonly own: Own) {}

  readonly methods: Methods = {
    load: (context, url: string, options: LoadOptions & Listener) => this.load(context, url, options),
    unload: ({ session }) => this.release(session),
    "chat.completions.create": (context, request) =>
      this.engine(context).chat.completions.create(withSignal(request, context)),
    "chat.completions.prompt": (context, request) =>
      this.engine(context).chat.completions.prompt(withSignal(request, context)),
    "completions.create": (context, request) => this.engine(context).completions.create(withSignal(request, context)),
    "embeddings.create": (context, request) => this.engine(context).embeddings.create(withSignal(request, context)),
    rerank: (context, request) => this.engine(context).rerank(withSignal(request, context)),
    generate: (context, tokens, request = {}) => this.engine(context).generate(tokens, withSignal(request, context)),
    replaySteps: (context, tokens, following) => this.engine(context).replaySteps(tokens, following),
    interrupt: (context) => this.engine(context).interrupt(this.mine(context)),
    reset: (context) => this.engine(context).reset(this.mine(context)),
    encode: (context, ...args: Parameters<Engine["encode"]>) => this.engine(context).encode(...args),
    renderChat: (context, ...args: Parameters<Engine["renderChat"]>) => this.engine(context).renderChat(...args),
    encodeChat: (context, ...args: Parameters<Engine["encodeChat"]>) => this.engine(context).encodeChat(...args),
    decode: (context, tokens) => this.engine(context).decode(tokens),
    validation: (context) => this.engine(context).validation(),
    profile: (context, options) => this.engine(context).profile(options),
  };

  readonly options: ServeOptions = {
    service: SERVICE,
    facts: (session, method) => (CHANGING.includes(method) ? this.facts(session) : undefined),
    onClose: (session) => void this.release(session),
    // A page that reads slowly, or no more, must not keep the others waiting for their turn.
    unbounded: (session) => this.of.get(session)?.shared ?? false,
  };

  private async load({ session, signal }: CallContext, url: string, options: LoadOptions & Listener): Promise<void> {
    await this.release(session);
    const { onProgress, onWarning, signal: _, ...rest } = options;
    const key = JSON.stringify([url, Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1))]);
    let shared = this.engines.get(key);
    if (!shared || shared.over) {
      shared = new SharedEngine(url, { ...rest, ...this.own });
      this.engines.set(key, shared);
    }
    this.of.set(session, shared);
    try {
      await shared.join(session, { onProgress, onWarning }, signal);
    } catch (error) {
      if (this.of.get(session) === shared) this.of.delete(session);
      this.forget();
      throw error;
    }
  }

  private async release(session: Session): Promise<void> {
    const shared = this.of.get(session);
    this.of.delete(session);
    await shared?.leave(session);
    this.forget();
  }

  private forget(): void {
    for (const [key, engine] of this.engines) if (engine.over) this.engines.delete(key);
  }

  private engine({ session }: CallContext): Engine {
    const engine = this.of.get(session)?.engine;
    if (!engine) throw new UnloadedError();
    return engine;
  }

  /** The requests that a page may end: those of others are not its own. */
  private mine({ session }: CallContext): ReadonlySet<AbortSignal> | undefined {
    return this.of.get(session)?.shared ? session.signals : undefined;
  }

  private facts(session: Session): Facts | undefined {
    const engine = this.of.get(session)?.engine;
    try {
      return engine && { info: engine.info };
    } catch (error) {
      return { error: errorToJson(error as MlcwebError) };
    }
  }
}

/** The request with the call's signal, which also fires when the page is gone. What is wrong stays, to be refused. */
function withSignal<T>(request: T, { signal }: CallContext): T {
  if (typeof request !== "object" || request === null || Array.isArray(request)) return request;
  const { signal: given } = request as { signal?: unknown };
  return given == null || given instanceof AbortSignal ? { ...request, signal } : request;
}
