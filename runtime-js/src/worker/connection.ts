// Calls methods of what a worker serves. A worker that the browser may end and start again is started again, and gets
// the calls that it had not begun to answer.
import { CancelledError, WorkerError } from "../errors.js";
import type { Dial } from "./dial.js";
import { errorFromJson, reasonToJson } from "./error_json.js";
import { Link, type LinkEvents, START_MS, type Timing } from "./link.js";
import { type Packed, pack, signalsAt } from "./pack.js";
import type { End, ToPage } from "./protocol.js";
import { RemoteStream } from "./remote_stream.js";

export interface ConnectionOptions extends Timing {
  /** The name under which the worker serves. */
  readonly service: string;
  /** Fields of arguments that may be functions: they are called with what the worker calls them with. */
  readonly callbacks?: readonly string[];
  readonly onFacts?: (facts: unknown) => void;
  /** Brings a worker that was started again to where the one before was. */
  readonly revive?: (call: (method: string, ...args: unknown[]) => Promise<unknown>) => Promise<unknown>;
  /** Keeps a service worker from ending also while nothing is asked of it. */
  readonly keepAlive?: boolean;
}

interface Call {
  readonly id: number;
  readonly method: string;
  readonly packed: Packed;
  readonly forget: AbortController;
  /** A call of `revive`, which is not sent again. */
  readonly once: boolean;
  resolve(value: unknown): void;
  reject(error: unknown): void;
  sent: boolean;
  tries: number;
  stream?: RemoteStream<unknown, unknown>;
}

const KEEP_ALIVE_MS = 10_000;
/** A call that ends its worker as often as this is at fault. */
const MOST_TRIES = 3;

export class Connection {
  private readonly calls = new Map<number, Call>();
  private readonly callbacks = new Map<number, Packed["callbacks"]>();
  private link: Link | undefined;
  /** Whether calls may be sent. */
  private ready = false;
  private connecting: Promise<void> | undefined;
  private lost: Error | undefined;
  private revives = false;
  private lastId = 0;
  private keeping: ReturnType<typeof setInterval> | undefined;

  private constructor(
    private readonly dial: Dial,
    private readonly options: ConnectionOptions,
  ) {}

  /** Resolves when the worker has answered. Rejects with WorkerError where it does not. */
  static async open(dial: Dial, options: ConnectionOptions): Promise<Connection> {
    const connection = new Connection(dial, options);
    try {
      await connection.connect();
    } catch (error) {
      dial.close?.();
      throw error;
    }
    connection.keeping = dial.keepAlive && setInterval(() => connection.keepAlive(), KEEP_ALIVE_MS);
    return connection;
  }

  /** What the method returns; a RemoteStream where that is a stream. */
  call(method: string, ...args: unknown[]): Promise<unknown> {
    return this.begin(method, args, false);
  }

  /** The error that ended the connection. */
  get failure(): Error | undefined {
    return this.lost;
  }

  /** Whether the worker is there now; one that ended is started again by the next call. */
  get connected(): boolean {
    return this.ready;
  }

  /** Ends it: calls under way and later ones reject with the error. */
  close(error: Error): void {
    if (this.lost) return;
    this.lost = error;
    clearInterval(this.keeping);
    this.link?.close();
    this.failAll(error);
    this.dial.close?.();
  }

  private async begin(method: string, args: unknown[], once: boolean): Promise<unknown> {
    if (this.lost) throw this.lost;
    const packed = pack(args, this.options.callbacks ?? []);
    return new Promise((resolve, reject) => {
      const id = ++this.lastId;
      const call: Call = {
        ...{ id, method, packed, once, resolve, reject },
        ...{ forget: new AbortController(), sent: false, tries: 0 },
      };
      this.calls.set(id, call);
      this.callbacks.set(id, packed.callbacks);
      packed.signals.forEach(({ signal }, at) => {
        signal.addEventListener("abort", () => this.abort(call, at, signal), { signal: call.forget.signal });
      });
      if (this.ready || once) this.send(call);
      else this.reconnect();
    });
  }

  private send(call: Call): void {
    const { id, method, packed } = call;
    call.sent = true;
    call.tries++;
    if (this.calls.size === 1) this.dial.keepAlive?.(); // it may be about to end
    try {
      const callbacks = packed.callbacks.map(({ path }) => path);
      this.link?.post({ kind: "call", id, method, args: packed.args, signals: signalsAt(packed), callbacks });
      call.stream?.askAgain();
    } catch (error) {
      this.settle(call, error);
    }
  }

  private abort(call: Call, at: number, signal: AbortSignal): void {
    const { id, stream } = call;
    if (stream) {
      this.leave(call);
      stream.fail(cancelled(signal));
    } else if (call.sent) this.link?.post({ kind: "abort", id, at, reason: reasonToJson(signal.reason) });
    else this.settle(call, cancelled(signal)); // it need not wait for the worker to start again
  }

  private leave(call: Call): void {
    this.link?.post({ kind: "leave", id: call.id });
    this.forget(call);
  }

  private hear(message: ToPage): void {
    if (!("id" in message)) return;
    if (message.kind === "event") {
      this.callbacks.get(message.id)?.[message.at]?.callback(...message.args);
      return;
    }
    if ("facts" in message) this.options.onFacts?.(message.facts);
    const call = this.calls.get(message.id);
    if (!call) return; // it was left, or failed here
    if (message.kind === "result") this.result(call, message.end);
    if (message.kind === "stream") this.stream(call);
    if (message.kind === "items" && call.stream) {
      const { items, end } = message;
      if (end) this.forget(call);
      call.stream.add(items, end && (errorIn(end, call.packed) ?? (end as { value: unknown })));
    }
  }

  private result(call: Call, end: End): void {
    const failed = errorIn(end, call.packed);
    if (failed) this.settle(call, failed.error);
    else {
      this.forget(call, true);
      call.resolve((end as { value: unknown }).value);
    }
  }

  private stream(call: Call): void {
    if (call.stream) return; // it is the same stream, of a worker that was started again
    const { id } = call;
    call.stream = new RemoteStream(
      (read) => call.sent && this.link?.post({ kind: "more", id, read }),
      () => this.leave(call),
    );
    call.resolve(call.stream);
    const fired = call.packed.signals.find(({ signal }) => signal.aborted);
    if (!fired) return;
    this.leave(call);
    call.stream.fail(cancelled(fired.signal));
  }

  private settle(call: Call, error: unknown): void {
    this.forget(call);
    if (call.stream) call.stream.fail(error);
    else call.reject(error);
  }

  /** Callbacks of a call that succeeded stay: a load warns also later. */
  private forget(call: Call, succeeded = false): void {
    this.calls.delete(call.id);
    if (!succeeded || call.packed.callbacks.length === 0) this.callbacks.delete(call.id);
    call.forget.abort();
  }

  private failAll(error: unknown): void {
    for (const call of [...this.calls.values()]) this.settle(call, error);
  }

  private async connect(): Promise<void> {
    const events: LinkEvents = {
      hear: (message) => this.hear(message),
      gone: (error) => this.gone(error),
      waiting: () => this.calls.size > 0,
    };
    const { dial } = this;
    this.link?.close(); // of a worker that could not be brought to where it was
    const wire = await within(dial.open(this.options.service), this.options.startMs ?? START_MS);
    const link = await Link.open(wire, this.options.service, events, this.options, (fail) => dial.onTrouble?.(fail));
    if (this.lost) {
      link.close();
      throw this.lost;
    }
    if (link.closed) throw new WorkerError("The worker ended as it was started.");
    this.link = link;
    dial.onTrouble?.(() => link.ask());
    if (this.revives) await this.options.revive?.((method, ...args) => this.begin(method, args, true));
    if (link.closed) throw new WorkerError("The worker ended as it was started again.");
    this.revives = dial.revives;
    this.ready = true;
    for (const call of [...this.calls.values()]) if (!call.sent) this.send(call);
  }

  private reconnect(): void {
    this.connecting ??= this.retry().finally(() => {
      this.connecting = undefined;
    });
  }

  private async retry(): Promise<void> {
    for (let tries = 1; !this.ready && !this.lost; tries++) {
      try {
        await this.connect();
      } catch (error) {
        if (error instanceof WorkerError && tries < MOST_TRIES) continue;
        this.failAll(this.lost ?? error); // who calls later tries again
        return;
      }
    }
  }

  private gone(error: WorkerError): void {
    this.ready = false;
    if (!this.dial.revives) this.close(error);
    for (const call of [...this.calls.values()]) {
      call.sent = false;
      if (call.once || call.stream?.begun || call.tries >= MOST_TRIES) this.settle(call, error);
    }
    if (this.calls.size > 0) this.reconnect();
  }

  private keepAlive(): void {
    if (this.calls.size > 0 || (this.options.keepAlive && this.ready)) this.dial.keepAlive?.();
  }
}

/** `navigator.serviceWorker.ready` never rejects. */
async function within<T>(opening: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new WorkerError(`No worker was there within ${ms / 1000} s.`, "Is the service worker registered?");
    timer = setTimeout(() => reject(error), ms);
  });
  return Promise.race([opening, late]).finally(() => clearTimeout(timer));
}

const cancelled = ({ reason }: AbortSignal): CancelledError => new CancelledError("Cancelled.", reason);

/** The error of an end. Where the caller's own signal fired, its reason is the cause. */
function errorIn(end: End, { signals }: Packed): { error: Error } | undefined {
  if (!("error" in end)) return undefined;
  const fired = signals.find(({ signal }) => signal.aborted)?.signal;
  return { error: errorFromJson(end.error, end.error.code === "cancelled" ? fired?.reason : undefined) };
}
