// Serves one page on one wire: runs the methods that it calls, and ends what it left when it is gone.
import { CancelledError, WorkerError } from "../errors.js";
import { errorToJson, reasonFromJson } from "./error_json.js";
import { Feed } from "./feed.js";
import { type HeldLock, holdLock, watchLock } from "./locks.js";
import { put } from "./pack.js";
import { type End, type ToPage, type ToWorker, VERSION } from "./protocol.js";
import type { Wire } from "./wire.js";

export interface CallContext {
  /** Fires when the caller's signal fires, when it leaves the stream, and when the page is gone. */
  readonly signal: AbortSignal;
  readonly session: Session;
}

/** What a page may call, by name. A method that returns an async iterable, or a promise of one, gives a stream. */
export type Methods = Readonly<
  // biome-ignore lint/suspicious/noExplicitAny: methods check what came from the page themselves
  Record<string, (context: CallContext, ...args: any[]) => unknown>
>;

export interface ServeOptions {
  /** The name that the page asks for. */
  readonly service: string;
  /** Goes along with the end of each call, such as what has changed by it. */
  readonly facts?: (session: Session, method: string) => unknown;
  /** Called once, when the page is gone or says that it is done. */
  readonly onClose?: (session: Session) => void;
  /** Whether streams go on however slowly the page reads. */
  readonly unbounded?: (session: Session) => boolean;
}

interface Running {
  readonly method: string;
  readonly stopping: AbortController;
  readonly signals: readonly AbortController[];
  feed?: Feed;
}

let lock: Promise<HeldLock | undefined> | undefined;

/** Serves the methods to who is at the other end of the wire, until it is gone. */
export const serve = (wire: Wire, methods: Methods, options: ServeOptions): Session =>
  new Session(wire, methods, options);

export class Session {
  private readonly running = new Map<number, Running>();
  private readonly closing = new AbortController();
  private idlers: (() => void)[] = [];

  constructor(
    private readonly wire: Wire,
    private readonly methods: Methods,
    private readonly options: ServeOptions,
  ) {
    wire.listen(
      (message) => this.hear(message as ToWorker),
      () => this.close(),
    );
  }

  /** The signals of the calls under way. */
  get signals(): ReadonlySet<AbortSignal> {
    return new Set([...this.running.values()].map(({ stopping }) => stopping.signal));
  }

  /** Resolves when no call is under way. */
  async idle(): Promise<void> {
    if (this.running.size > 0) await new Promise<void>((resolve) => this.idlers.push(resolve));
  }

  /** Streams that wait for their page look again whether they must. */
  wake(): void {
    for (const { feed } of this.running.values()) feed?.wake();
  }

  close(): void {
    if (this.closing.signal.aborted) return;
    this.closing.abort();
    for (const id of [...this.running.keys()]) this.end(id, new CancelledError("The page is gone."));
    this.wire.close();
    this.options.onClose?.(this);
  }

  private hear(message: ToWorker): void {
    if (message.kind === "hello") this.welcome(message).catch(() => this.close());
    if (message.kind === "call") void this.call(message);
    if (message.kind === "ping") this.post({ kind: "pong" });
    if (message.kind === "bye") this.close();
    const running = "id" in message && this.running.get(message.id);
    if (!running) return; // it has just ended
    if (message.kind === "more") running.feed?.more(message.read);
    if (message.kind === "leave") this.end(message.id, new CancelledError("The stream was left."));
    if (message.kind !== "abort") return;
    const reason = reasonFromJson(message.reason);
    running.signals[message.at]?.abort(reason);
    running.stopping.abort(reason);
  }

  private async welcome({ version, service, lock: pages }: ToWorker & { kind: "hello" }): Promise<void> {
    const refusal =
      version !== VERSION
        ? `The worker speaks version ${VERSION} of the protocol, and the page version ${version}.`
        : service !== this.options.service
          ? `This worker serves "${this.options.service}", and not "${service}".`
          : undefined;
    if (refusal !== undefined) {
      const hint = "Serve the page and the worker's script from the same version of mlcweb.";
      this.post({ kind: "refused", error: errorToJson(new WorkerError(refusal, hint)) });
      return;
    }
    lock ??= holdLock();
    const held = await lock;
    if (pages !== undefined) await watchLock(pages, () => this.close(), this.closing.signal);
    this.post({ kind: "welcome", lock: held?.name });
  }

  private async call({ id, method, args, signals, callbacks }: ToWorker & { kind: "call" }): Promise<void> {
    if (this.running.has(id)) return;
    const fresh = (): AbortController => new AbortController();
    const running: Running = { method, stopping: fresh(), signals: signals.map(fresh) };
    this.running.set(id, running);
    signals.forEach(({ path, aborted, reason }, i) => {
      put(args, path, running.signals[i]!.signal);
      if (!aborted) return;
      running.signals[i]!.abort(reasonFromJson(reason));
      running.stopping.abort(reasonFromJson(reason));
    });
    callbacks.forEach((path, at) => {
      put(args, path, (...given: unknown[]) => this.post({ kind: "event", id, at, args: given }));
    });
    try {
      if (!Object.hasOwn(this.methods, method)) throw new WorkerError(`The worker has no method "${method}".`);
      const value = await this.methods[method]!({ signal: running.stopping.signal, session: this }, ...args);
      if (isStream(value)) this.stream(id, running, value);
      else this.finish(id, { value });
    } catch (error) {
      this.finish(id, { error: errorToJson(error) });
    }
  }

  private stream(id: number, running: Running, items: AsyncIterable<unknown>): void {
    const send = (made: unknown[], end?: End): void => {
      this.post({ kind: "items", id, items: made, ...(end && { end, facts: this.facts(running) }) });
      if (end) this.forget(id);
    };
    const feed = new Feed(items, send, () => this.options.unbounded?.(this) ?? false);
    // The page may have left, or be gone, while the stream was made.
    if (this.running.get(id) !== running) feed.stop();
    else {
      running.feed = feed;
      this.post({ kind: "stream", id });
    }
  }

  private finish(id: number, end: End): void {
    const running = this.running.get(id);
    if (!running) return;
    this.forget(id);
    try {
      this.post({ kind: "result", id, end, facts: this.facts(running) });
    } catch (error) {
      this.post({ kind: "result", id, end: { error: errorToJson(error) } });
    }
  }

  /** Ends a call that nobody waits for any more. */
  private end(id: number, reason: CancelledError): void {
    const running = this.running.get(id)!;
    this.forget(id);
    running.stopping.abort(reason);
    for (const signal of running.signals) signal.abort(reason);
    running.feed?.stop();
  }

  private forget(id: number): void {
    this.running.delete(id);
    if (this.running.size === 0) for (const go of this.idlers.splice(0)) go();
  }

  private facts({ method }: Running): unknown {
    return this.options.facts?.(this, method);
  }

  private post(message: ToPage): void {
    if (!this.closing.signal.aborted) this.wire.post(message);
  }
}

const isStream = (value: unknown): value is AsyncIterable<unknown> =>
  typeof (value as AsyncIterable<unknown> | undefined)?.[Symbol.asyncIterator] === "function";
